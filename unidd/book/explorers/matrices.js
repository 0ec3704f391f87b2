// Small dense matrices: flat Float64Arrays, row by row.

/** A (n, k) times B (k, p): (n, p). */
export function product(A, B, n, k, p) {
  const out = new Float64Array(n * p);
  for (let i = 0, row = 0; i < n; i++, row += p) {
    for (let j = 0, from = 0; j < k; j++, from += p) {
      const a = A[i * k + j];
      if (a !== 0) for (let l = 0; l < p; l++) out[row + l] += a * B[from + l];
    }
  }
  return out;
}

/** The transpose of A (n, k): (k, n). */
export function transposed(A, n, k) {
  const out = new Float64Array(n * k);
  for (let i = 0; i < n; i++) for (let j = 0; j < k; j++) out[j * n + i] = A[i * k + j];
  return out;
}

/** Eigenvalues and eigenvectors (columns of U) of a symmetric matrix (n, n), by Jacobi's rotations. */
export function eigen(matrix, n) {
  const [A, U] = [Float64Array.from(matrix), new Float64Array(n * n)];
  for (let i = 0; i < n; i++) U[i * n + i] = 1;
  let size = 0;
  for (const v of A) size += v * v;
  for (let sweep = 0; sweep < 30; sweep++) {
    let off = 0;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) off = Math.max(off, Math.abs(A[p * n + q]));
    if (off <= 1e-15 * Math.sqrt(size)) break;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) rotate(A, U, n, p, q);
  }
  return { values: Float64Array.from({ length: n }, (_, i) => A[i * n + i]), U };
}

/** One rotation, in the plane of p and q, after which A has a 0 there. */
function rotate(A, U, n, p, q) {
  const apq = A[p * n + q];
  if (apq === 0) return;
  const theta = (A[q * n + q] - A[p * n + p]) / (2 * apq);
  const t = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
  const c = 1 / Math.hypot(t, 1);
  turn(A, n, n, p, q, c, t * c);
  turn(A, 1, n, p * n, q * n, c, t * c);
  turn(U, n, n, p, q, c, t * c);
}

/** Turn n pairs of entries, the first at i and j, each `stride` after the last. */
function turn(M, stride, n, i, j, c, s) {
  for (let k = 0, a = i, b = j; k < n; k++, a += stride, b += stride) {
    const left = M[a];
    M[a] = c * left - s * M[b];
    M[b] = s * left + c * M[b];
  }
}

/** The solution of AX = B for A (n, n), symmetric positive definite, and B (n, k), by Cholesky. */
export function solve(A, B, n, k) {
  const [L, X] = [Float64Array.from(A), Float64Array.from(B)];
  for (let j = 0; j < n; j++) {
    for (let i = j; i < n; i++) {
      let rest = L[i * n + j];
      for (let l = 0; l < j; l++) rest -= L[i * n + l] * L[j * n + l];
      L[i * n + j] = i === j ? Math.sqrt(rest) : rest / L[j * n + j];
    }
  }
  const substitute = (i, from, to, at) => {
    for (let l = from; l < to; l++) for (let c = 0; c < k; c++) X[i * k + c] -= L[at(l)] * X[l * k + c];
    for (let c = 0; c < k; c++) X[i * k + c] /= L[i * n + i];
  };
  for (let i = 0; i < n; i++) substitute(i, 0, i, (l) => i * n + l);
  for (let i = n - 1; i >= 0; i--) substitute(i, i + 1, n, (l) => l * n + i);
  return X;
}
