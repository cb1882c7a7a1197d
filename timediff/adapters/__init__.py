"""Other libraries' interfaces around timediff; each file needs its own library."""
