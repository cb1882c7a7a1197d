// The network of wavenet.py, for rows that share a step: a tile of rows goes through all layers
// before the next one does, one row in each lane of the processor's vectors, so that nothing but
// its values, its condition and the prediction is read from or written to main memory.
//
// CHANNELS is set by native.py, which compiles this; WaveNet.arranged has the order of the weights.

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

constexpr int C = CHANNELS;
constexpr int SUMS = LANES == 8 ? C : 2 * C;  // at once: no more than there are registers
constexpr int EDGE = 2;                       // columns that the network adds on either side
constexpr float SLOPE = 0.4f;                 // of every leaky ReLU

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));

static inline vec leaky(vec v) { return v > 0.0f ? v : SLOPE * v; }

// e^v of numbers from -87 to `reach`, of others as if they were these.
static inline vec exponential(vec v, float reach) {
    const float shifter = 12582912.0f;  // 1.5 * 2^23: sums with it are rounded to integers
    const vec most = reach - vec{}, least = -87.0f - vec{};
    v = v > most ? most : v;
    v = v < least ? least : v;
    const vec whole = v * 1.44269504f + shifter;
    const vec n = whole - shifter;
    const vec r = (v - n * 0.693359375f) + n * 2.12194440e-4f;
    vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    ivec power;
    std::memcpy(&power, &whole, sizeof power);
    power = (power - 0x4B400000 + 127) << 23;
    vec scale;
    std::memcpy(&scale, &power, sizeof scale);
    return p * scale;
}

// N sums over the channels of some columns, added to what is in `sums`.
template <int N>
static inline void product(vec *sums, const vec *columns, int number, const float *weights,
                           int stride) {
    for (int k = 0; k < number; ++k, weights += stride) {
        const vec v = columns[k];
#pragma GCC unroll 32
        for (int o = 0; o < N; ++o) sums[o] += weights[o] * v;
    }
}

struct Network {
    int layers;
    const int64_t *dilations;
    const float *inlet;      // [2, C]: weight, bias
    const float *dilated;    // [layers, 3 C + 2, 2 C]: taps, condition, bias; gates times -1, -2
    const float *outlets;    // [layers, C + 1, 2 C]: weight, bias; what goes on is scaled
    const float *skip;       // [3 C + 1, C]
    const float *last;       // [3 C + 1]
};

// Where a tile lies, [columns, C] for `y` (two of them, each with `halo` more on both sides),
// `total` and `hidden`.
struct Space {
    std::vector<vec> memory;
    vec *y[2], *total, *hidden, *condition;
    Space(int width, int halo) : memory(size_t(width) * (4 * C + 1) + 4 * size_t(halo) * C) {
        y[0] = memory.data() + halo * C;
        y[1] = y[0] + (width + 2 * halo) * C;
        total = y[1] + (width + halo) * C;
        hidden = total + width * C;
        condition = hidden + width * C;
    }
};

static void continued(vec *y, int width, int halo) {
    for (int i = 1; i <= halo; ++i) {
        const int before = ((-i) % width + width) % width, after = (i - 1) % width;
        std::copy_n(y + before * C, C, y - i * C);
        std::copy_n(y + after * C, C, y + (width + i - 1) * C);
    }
}

static void layer(const Network &net, int index, const vec *in, vec *out, const Space &space,
                  int width) {
    const float *dilated = net.dilated + index * (3 * C + 2) * 2 * C;
    const float *outlet = net.outlets + index * (C + 1) * 2 * C;
    const float *condition = dilated + 3 * C * 2 * C, *shift = condition + 2 * C;
    const int dilation = int(net.dilations[index]) * C;
    for (int w = 0; w < width; ++w, in += C, out += C) {
        vec sums[2 * C], gated[C];
#pragma GCC unroll 2
        for (int first = 0; first < 2 * C; first += SUMS) {
            vec part[SUMS];
#pragma GCC unroll 32
            for (int o = 0; o < SUMS; ++o)
                part[o] = shift[first + o] + condition[first + o] * space.condition[w];
            for (int tap = 0; tap < 3; ++tap)
                product<SUMS>(part, in + (tap - 1) * dilation, C, dilated + tap * C * 2 * C + first,
                              2 * C);
            std::copy_n(part, SUMS, sums + first);
        }
        for (int c = 0; c < C; ++c) {  // sigmoid(g) tanh(v), of -g and -2 v, with one division
            const vec g = exponential(sums[c], 87.0f);
            const vec v = exponential(sums[C + c], 20.0f);  // -1 from there on; no overflow below
            gated[c] = (1.0f - v) / ((1.0f + g) * (1.0f + v));
        }
        vec *total = space.total + w * C;
#pragma GCC unroll 2
        for (int first = 0; first < 2 * C; first += C) {
            vec part[C];
#pragma GCC unroll 32
            for (int o = 0; o < C; ++o) part[o] = outlet[C * 2 * C + first + o] - vec{};
            product<C>(part, gated, C, outlet + first, 2 * C);
            for (int o = 0; o < C; ++o) {
                if (first == 0)
                    out[o] = in[o] + leaky(part[o]);
                else
                    total[o] += leaky(part[o]);
            }
        }
    }
}

static void tile(const Network &net, const float *x, const float *condition, float *result,
                 int rows, int dim, int halo, Space &space) {
    const int width = dim + 2 * EDGE;
    for (int w = 0; w < width; ++w) {
        const int column = ((w - EDGE) % dim + dim) % dim;
        vec value = {}, given = {};
        for (int r = 0; r < rows; ++r) {
            value[r] = x[r * dim + column];
            given[r] = condition[r * dim + column];
        }
        space.condition[w] = given;
        for (int c = 0; c < C; ++c)
            space.y[0][w * C + c] = leaky(net.inlet[c] * value + net.inlet[C + c]);
    }
    std::fill_n(space.total, width * C, vec{});
    for (int i = 0; i < net.layers; ++i) {
        vec *in = space.y[i % 2];
        continued(in, width, halo);
        layer(net, i, in, space.y[1 - i % 2], space, width);
    }
    for (int w = 0; w < width - 2; ++w) {
        vec sums[C];
        for (int o = 0; o < C; ++o) sums[o] = net.skip[3 * C * C + o] - vec{};
        product<C>(sums, space.total + w * C, 3 * C, net.skip, C);
        for (int o = 0; o < C; ++o) space.hidden[w * C + o] = leaky(sums[o]);
    }
    for (int w = 0; w < dim; ++w) {
        vec sum = net.last[3 * C] - vec{};
        product<1>(&sum, space.hidden + w * C, 3 * C, net.last, 1);
        for (int r = 0; r < rows; ++r) result[r * dim + w] = sum[r];
    }
}

// The prediction [rows, dim] for x [rows, dim].
extern "C" void denoise(const float *x, const float *condition, float *result, int64_t rows,
                        int64_t dim, int64_t layers, const int64_t *dilations, const float *inlet,
                        const float *dilated, const float *outlets, const float *skip,
                        const float *last, int64_t threads) {
    const Network net{int(layers), dilations, inlet, dilated, outlets, skip, last};
    const int halo = int(*std::max_element(dilations, dilations + layers));
    const int64_t tiles = (rows + LANES - 1) / LANES;
    std::atomic<int64_t> next{0};
    auto work = [&] {
        Space space(int(dim) + 2 * EDGE, halo);
        for (int64_t i; (i = next++) < tiles;) {
            const int64_t first = i * LANES, at = first * dim;
            tile(net, x + at, condition + at, result + at,
                 int(std::min<int64_t>(LANES, rows - first)), int(dim), halo, space);
        }
    };
    std::vector<std::thread> others;
    for (int64_t t = 1; t < std::min(threads, tiles); ++t) others.emplace_back(work);
    work();
    for (auto &other : others) other.join();
}
