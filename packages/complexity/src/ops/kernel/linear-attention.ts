/** What the chunked kernel of linear attention executes. */
import { numberOf, op, type Op } from '../op.js';
import type { LinearAttentionSizes } from '../sizes.js';
import { up } from './round.js';

/** Steps of a chunk of the kernel, and of its rows in memory. */
const CHUNK = 20;
const CHUNK_ROW = 24;

/** Where the kernel takes products of matrices within chunks, because that is faster. */
function goesByChunks(s: LinearAttentionSizes): boolean {
  const { seqLen, headDim, valueDim = headDim, forget = 'none' } = s;
  const [steps, dKey, dValue] = [seqLen, headDim, valueDim].map(numberOf);
  if (forget === 'channel') return false;
  if (forget === 'none') return steps >= 32 && dKey * dValue >= 65536;
  return steps >= 8 && Math.min(dKey, dValue) >= 32 && dKey * dValue >= 2048;
}

/** Tiles of 5 x 8, the upper triangle of the scores left out by tiles; undefined where the kernel goes step by step. */
export function linearAttentionChunked(s: LinearAttentionSizes): Op | undefined {
  if (!goesByChunks(s)) return undefined;
  const { featureMap = 'elu1', forget = 'none', initialState = false } = s;
  const normalize = s.normalize ?? true;
  const [batch, seqLen, nHeads, dKey] = [s.batch, s.seqLen, s.nHeads, s.headDim].map(numberOf);
  const dValue = numberOf(s.valueDim ?? s.headDim);
  const [fourKey, fiveKey, eightKey] = [4, 5, 8].map((unit) => up(dKey, unit));
  const eightValue = up(dValue, 8);
  const map = featureMap === 'elu1' ? 1 : 0;
  let macs = 0;
  let other = 0;
  let transcendentals = 0;
  for (let t = 0; t < seqLen; t += CHUNK) {
    const steps = Math.min(CHUNK, seqLen - t);
    const rows = up(steps, 5);
    for (let i = 0; i < steps; i += 8) macs += 8 * up(Math.min(i + 8, steps), 5) * dKey; // scores
    const carried = t === 0 && !initialState ? 0 : dKey;
    for (let i = 0; i < rows; i += 5) macs += (5 * (carried + i) + 15) * eightValue; // outputs
    macs += fiveKey * eightValue * steps; // the state
    other += steps * (2 + 2 * map) * fourKey + steps * up(dValue, 4);
    transcendentals += 2 * map * steps * fourKey;
    if (forget !== 'none') {
      let decayed = 0;
      for (let j = 0; j < rows; j++) decayed += up(rows - up(j - (j % 5) - 3, 4), 4);
      other += steps + CHUNK_ROW + 2 * decayed + dKey * (up(steps, 4) + eightValue) + steps * eightKey;
      transcendentals += 2 * CHUNK_ROW + decayed;
    }
    if (normalize) {
      macs += up(steps, 4) * dKey + eightKey;
      for (let i = 0; i < steps; i += 4) other += 4 * Math.min(i + 4, steps) + 12;
      other += eightKey * steps;
    }
  }
  const heads = batch * nHeads;
  return op({ macs: heads * macs, other: heads * other, transcendentals: heads * transcendentals });
}
