/**
 * Linear attention, plain (Katharopoulos et al. 2020, arXiv:2006.16236), with a decay a head (Sun et al. 2023,
 * arXiv:2307.08621) or a gate a key channel (Yang et al. 2023, arXiv:2312.06635):
 *
 *   S[t] = f[t] S[t-1] + phi(k[t]) v[t]^T     f = e^decay, or e^gate for each row of S
 *   z[t] = f[t] z[t-1] + phi(k[t])
 *   o[t] = scale phi(q[t]) S[t]               over scale phi(q[t]) . z[t] + eps, if normalised
 *
 *   q, k, gate  [batch, seqLen, nHeads, dKey]     o, v  [batch, seqLen, nHeads, dValue]
 *   S           [batch, nHeads, dKey, dValue]     z     [batch, nHeads, dKey]
 *   decay       [batch, seqLen, nHeads], or [nHeads] if decayPerStep is 0
 *
 * The caller gives decay or gate or neither (0), and normalizers only if it normalises. `scratch` has as many
 * bytes as `<kernel>ScratchBytes` says. A block of steps passes for one head after the other, copied to padded rows.
 * This is the recurrent form; that in chunks is in linear-attention/chunked.ts.
 *
 * Backward is three more passes of the same recurrence, two of them backwards in time, so it keeps no states:
 *
 *   dq[t] = S[t] do[t]        dv[t] = k[t] dS[t]        dk[t] = dS[t] v[t]        dS[t] = f[t+1] dS[t+1] + q[t] do[t]^T
 *
 * The gradient of the logs of f follows from those of q and k: a pair j < t <= i of steps that meet in the output
 * holds f[t] once, so d[t] - d[t+1] = q[t] dq[t] - k[t] dk[t], both without the step's own update, summed in double.
 */
export * from './linear-attention/recurrent';
export * from './linear-attention/backward';
