import { mixersIn, type ResolvedConfig, type ResolvedMixer } from '@freelunch/config';

/** What a piece has at least: working memory stays small, and weights are not read too often. */
const LEAST = 480;
/** Steps that kernels compute as products of matrices, of linear attention and of SSD by default; it takes whole ones. */
const CHUNK = 40;

/** Of Mamba-3 by default so many rows, one for each rank of a step. */
const chunkOf = (mixer: ResolvedMixer): number => {
  if (mixer.type === 'mamba3') return mixer.chunkSize ?? Math.max(1, Math.floor(CHUNK / mixer.nRanks));
  return (mixer.type === 'mamba2' && mixer.chunkSize) || CHUNK;
};

const greatestCommonDivisor = (a: number, b: number): number =>
  b === 0 ? a : greatestCommonDivisor(b, a % b);

/**
 * Positions in a piece of a long prompt: whole chunks of every layer, for a prompt in pieces to have the bits of one read
 * at once; Mamba-3 rounds what it hands on. Infinite with softmax attention, which looks back at all.
 */
export function pieceLength({ mixers, sharedBlocks }: ResolvedConfig): number {
  if (sharedBlocks !== undefined) return Infinity;
  let unit = CHUNK;
  for (const mixer of mixers.flatMap(mixersIn)) {
    if (mixer.type === 'softmax-attention') return Infinity;
    const chunkSize = chunkOf(mixer);
    unit *= chunkSize / greatestCommonDivisor(unit, chunkSize);
  }
  return Math.ceil(LEAST / unit) * unit;
}
