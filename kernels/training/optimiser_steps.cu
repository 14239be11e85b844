// Parameter updates in place, one thread per weight. They compute in REAL with the scalars rounded to it.

extern "C" __global__ void adam_step(
    REAL *__restrict__ value, const REAL *__restrict__ grad, REAL *__restrict__ first, REAL *__restrict__ second,
    long long size, REAL factor, REAL rate, REAL beta1, REAL beta2, REAL correction1, REAL correction2, REAL epsilon) {
    long long i = THREAD_X;
    if (i >= size) return;
    REAL g = grad[i] * factor;
    REAL m = beta1 * first[i] + (1 - beta1) * g;
    REAL v = beta2 * second[i] + (1 - beta2) * g * g;
    first[i] = m;
    second[i] = v;
    value[i] -= rate * (m / correction1) / (sqrt(v / correction2) + epsilon);
}

extern "C" __global__ void momentum_step(
    REAL *__restrict__ value, const REAL *__restrict__ grad, REAL *__restrict__ velocity, long long size, REAL factor,
    REAL rate, REAL momentum) {
    long long i = THREAD_X;
    if (i >= size) return;
    REAL v = momentum * velocity[i] + factor * grad[i];
    velocity[i] = v;
    value[i] -= rate * v;
}
