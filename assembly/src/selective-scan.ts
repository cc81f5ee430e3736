/**
 * Selective scan of Mamba (Gu & Dao 2023, Algorithm 2, arXiv:2312.00752).
 *
 *   h[t] = exp(delta[t] A) h[t-1] + delta[t] u[t] B[t]
 *   y[t] = (C[t] . h[t] + D u[t]) silu(z[t])
 *
 * where delta is first softplus(delta + deltaBias) if so asked.
 *
 *   y, u, delta, z  [batch, seqLen, dInner]      A, h          [dInner, dState]
 *   D, deltaBias    [dInner]                     states        [batch, dInner, dState]
 *   B, C            [batch, seqLen, nGroups, dState], or [dInner, dState] where nGroups is given as 0
 *
 * Lanes run along four channels, a tile; so y needs no horizontal sum, and any dState will do. A tile runs through a
 * chunk of time steps with its h and A in the first cache, as [dState][4]; B and C of the chunk are laid out as
 * [t][dState][4], once for all tiles that share them. What one tile needs at each step (delta and delta u, then y) is
 * made ready before, so that the loop over states holds little else than the exponential. NaN in u or delta reaches y;
 * NaN in A does if its low nine bits are zero, as in all that arithmetic makes.
 *
 * The caller guarantees the shapes, that nGroups divides dInner, and the scratch memory.
 */
export * from './selective-scan/forward';
export * from './selective-scan/backward';
export * from './selective-scan/step';
