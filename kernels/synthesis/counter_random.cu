// Gaussian noise from counters: the device functions of counter_random.py with its polynomials, for other sources.

// 32 random bits for a counter under two keys.
__device__ inline unsigned int hash32(unsigned int counter, unsigned int key0, unsigned int key1) {
    unsigned int x = (counter * 0x9E3779B9u) ^ key0;
    x ^= x >> 16;
    x *= 0x7FEB352Du;
    x ^= x >> 15;
    x += key1;
    x *= 0x846CA68Bu;
    return x ^ (x >> 16);
}

// Two independent standard normal numbers for a counter below 2^31, in float whatever REAL is.
__device__ inline float2 normal_pair(unsigned int counter, unsigned int key0, unsigned int key1) {
    unsigned int first = hash32(2 * counter, key0, key1), second = hash32(2 * counter + 1, key0, key1);
    float u = ((float)(int)(first >> 8) + 0.5f) * 5.9604644775390625e-08f;  // 2^-24
    int bits = __float_as_int(u);
    int exponent = (bits - 0x3F3504F3) >> 23;
    float z = __int_as_float(bits - exponent * (1 << 23)) - 1.0f;
    float series = -0.09935829f;
    series = series * z + 0.16151634f;
    series = series * z - 0.17276932f;
    series = series * z + 0.19910598f;
    series = series * z - 0.2496875f;
    series = series * z + 0.33334679f;
    series = series * z - 0.50000379f;
    series = series * z + 0.99999997f;
    float radius = sqrt(max(-2.0f * (exponent * 0.69314718f + series * z), 0.0f));
    float psi = ((float)(int)(second >> 2) * 9.31322574615478515625e-10f - 0.5f) * 1.57079633f;  // 2^-30, pi / 2
    float q = psi * psi;
    float sine = psi * (1.0f + q * (-1.0f / 6 + q * (1.0f / 120 + q * (-1.0f / 5040))));
    float cosine = 1.0f + q * (-1.0f / 2 + q * (1.0f / 24 + q * (-1.0f / 720 + q * (1.0f / 40320))));
    radius *= 0.70710678f;
    float2 pair;
    pair.x = (second & 1 ? -radius : radius) * (cosine - sine);
    pair.y = (second & 2 ? -radius : radius) * (cosine + sine);
    return pair;
}
