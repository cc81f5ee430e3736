import { mixersIn, type ResolvedConfig } from '@freelunch/config';

/** What a piece has at least: working memory stays small, and weights are not read too often. */
const LEAST = 480;
/** Steps that kernels compute as products of matrices, of linear attention and of SSD by default; it takes whole ones. */
const CHUNK = 40;

const greatestCommonDivisor = (a: number, b: number): number =>
  b === 0 ? a : greatestCommonDivisor(b, a % b);

/**
 * Positions in a piece of a long prompt: whole chunks of every layer, for a prompt in pieces to have the bits of one read
 * at once. Infinite with softmax attention, which looks back at all.
 */
export function pieceLength({ mixers, sharedBlocks }: ResolvedConfig): number {
  if (sharedBlocks !== undefined) return Infinity;
  let unit = CHUNK;
  for (const mixer of mixers.flatMap(mixersIn)) {
    if (mixer.type === 'softmax-attention') return Infinity;
    const { chunkSize = 1 } = mixer.type === 'mamba2' ? mixer : {};
    unit *= chunkSize / greatestCommonDivisor(unit, chunkSize);
  }
  return Math.ceil(LEAST / unit) * unit;
}
