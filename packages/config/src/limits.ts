/**
 * The largest sizes that a config may have. Published models stay far below: Llama 3.1 405B has 126 layers, a width of
 * 16,384 (MLP: 53,248) and 128,256 tokens. What fits into memory is decided where weights are made.
 */
export const limits = {
  nLayers: 4096,
  /** Widths, vocabularies, states, ranks, experts: all that is the side of a matrix. */
  size: 2 ** 24,
  nHeads: 2 ** 16,
  /** Inputs and outputs of a step of Mamba-3. */
  nRanks: 256,
  /** Taps of a causal convolution. */
  dConv: 1024,
  /** Steps that SSD computes together. */
  chunkSize: 1024,
  /** Positions, and distances between them: kernels count them in 32 bits. */
  length: 2 ** 31 - 1,
  /** Norms divide by the root of at least this, so that a row of zeros stays finite in float32. */
  leastEps: 1e-30,
} as const;
