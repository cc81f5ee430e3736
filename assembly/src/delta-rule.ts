/**
 * The delta rule (Schlag et al. 2021, arXiv:2102.11174; Yang et al. 2024, arXiv:2406.06484), plain or gated
 * (Yang et al. 2024, arXiv:2412.06464): before it writes, a step reads what the state holds under its key.
 *
 *   e[t] = v[t] - f[t] S[t-1]^T k[t]          f = e^decay
 *   S[t] = f[t] S[t-1] + k[t] (beta[t] e[t])^T
 *   o[t] = scale q[t] S[t]
 *
 *   q, k         [batch, seqLen, nHeads, dKey]     o, v  [batch, seqLen, nHeads, dValue]
 *   beta, decay  [batch, seqLen, nHeads]           S     [batch, nHeads, dKey, dValue]
 *
 * decay may be 0 (f = 1). If l2Normalize, q and k are divided by sqrt(sum of squares + eps) first. `scratch` has as many
 * bytes as `<kernel>ScratchBytes` says.
 *
 * A column of S depends on no other, so 8 of them at a time go through a block of steps. One pass over such a panel
 * writes step t and at once reads for step t + 1, its key's recall and its query's: 3 madds for each load and store.
 *
 * Backward, P[t] being the gradient of f[t] S[t-1]:
 *
 *   w[t] = (f[t+1] P[t+1] + q[t] do[t]^T)^T k[t]       dv[t] = beta[t] w[t]       dbeta[t] = w[t] . e[t]
 *   P[t] = f[t+1] P[t+1] + q[t] do[t]^T - k[t] dv[t]^T
 *   dq[t] = S[t] do[t]        dk[t] = (f[t+1] P[t+1] + q[t] do[t]^T) beta[t] e[t] - f[t] S[t-1] dv[t]
 *
 * e and w are found by two passes over panels, forwards and backwards in time; with them both states move by plain
 * updates, as in linear attention, and its register tiles give dq and dk. No states are kept. The gradient of decay
 * is P . (f S[t-1]) at the last step; from step to step it differs by o . do - v . dv, both without the step's own value.
 */
export * from './delta-rule/forward';
export * from './delta-rule/backward';
