// The numbers of noise.py: Philox 4x32-10, of whose words four at a time become normal numbers.
// LANES counters are worked on at once, neighbouring places of one vector.

#include <algorithm>
#include <cstdint>
#include <cstring>

constexpr int LANES = 16, PARTS = 4, ROUNDS = 10;

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));
typedef uint32_t word __attribute__((vector_size(4 * LANES)));
typedef uint64_t wide __attribute__((vector_size(8 * LANES)));

template <class To, class From> static inline To same_bits(const From &from) {
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

static inline void philox(word &a, word &b, word &c, word &d, uint32_t k, uint32_t l) {
    for (int round = 0; round < ROUNDS; ++round, k += 0x9E3779B9u, l += 0xBB67AE85u) {
        const wide first = __builtin_convertvector(a, wide) * 0xD2511F53ull;
        const wide second = __builtin_convertvector(c, wide) * 0xCD9E8D57ull;
        a = __builtin_convertvector(second >> 32, word) ^ b ^ k;
        c = __builtin_convertvector(first >> 32, word) ^ d ^ l;
        b = __builtin_convertvector(second, word);
        d = __builtin_convertvector(first, word);
    }
}

// log u for normal u up to 1 (the polynomials are those of Cephes).
static inline vec logarithm(vec u) {
    const ivec bits = same_bits<ivec>(u);
    vec m = same_bits<vec>((bits & 0x007FFFFF) | 0x3F000000);  // from .5 to 1
    vec e = __builtin_convertvector((bits >> 23) - 126, vec);
    const auto small = m < 0.707106781f;
    e = small ? e - 1.0f : e;
    m = (small ? m + m : m) - 1.0f;
    const vec z = m * m;
    vec p = m * 7.0376836292e-2f - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    return (m + (p * m * z - e * 2.12194440e-4f - 0.5f * z)) + e * 0.693359375f;
}

// Cosine and sine of angles from 0 to 2 pi.
static inline void circle(vec angle, vec &cosine, vec &sine) {
    const float shifter = 12582912.0f;  // 1.5 * 2^23: sums with it are rounded to integers
    const vec whole = angle * 0.636619772f + shifter;
    const vec n = whole - shifter;
    const ivec quarter = same_bits<ivec>(whole);
    const vec r = ((angle - n * 1.5703125f) - n * 4.837512969970703e-4f) - n * 7.54978995489e-8f;
    const vec z = r * r;
    const vec s = ((z * -1.9515295891e-4f + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * r + r;
    const vec c = ((z * 2.443315711809948e-5f - 1.388731625493765e-3f) * z +
                   4.166664568298827e-2f) * z * z - 0.5f * z + 1.0f;
    const ivec odd = (quarter & 1) != 0;
    cosine = odd ? s : c;
    sine = odd ? c : s;
    cosine = ((quarter + 1) & 2) != 0 ? -cosine : cosine;
    sine = (quarter & 2) != 0 ? -sine : sine;
}

static inline void normal(word a, word b, vec &one, vec &other) {
    const vec u = (__builtin_convertvector(a, vec) + 1.0f) * 0x1p-32f;  // in (0, 1]
    const vec square = logarithm(u) * -2.0f;
    vec radius;
    for (int i = 0; i < LANES; ++i) radius[i] = __builtin_sqrtf(square[i] > 0.0f ? square[i] : 0.0f);
    circle(__builtin_convertvector(b, vec) * float(6.283185307179586 * 0x1p-32), one, other);
    one *= radius;
    other *= radius;
}

// The vectors [rows, calls, dim] of paths from the given call on.
extern "C" void normals(const int64_t *seeds, const int64_t *paths, float *result, int64_t rows,
                        int64_t dim, int64_t first, int64_t calls) {
    const int64_t each = (dim + PARTS - 1) / PARTS;
    word places;
    for (int i = 0; i < LANES; ++i) places[i] = i;
    for (int64_t row = 0; row < rows; ++row) {
        const uint32_t k = uint32_t(seeds[row]), l = uint32_t(uint64_t(seeds[row]) >> 32);
        for (int64_t call = first; call < first + calls; ++call, result += dim) {
            for (int64_t place = 0; place < each; place += LANES) {
                word a = places + uint32_t(place), b = uint32_t(call) - word{};
                word c = uint32_t(paths[row]) - word{}, d = {};
                philox(a, b, c, d, k, l);
                vec drawn[PARTS];
                normal(a, b, drawn[0], drawn[1]);
                normal(c, d, drawn[2], drawn[3]);
                for (int part = 0; part < PARTS; ++part) {
                    const int64_t at = part * each + place;
                    const int64_t left = std::min(each - place, dim - at);
                    if (left > 0)
                        std::memcpy(result + at, &drawn[part], 4 * std::min<int64_t>(left, LANES));
                }
            }
        }
    }
}
