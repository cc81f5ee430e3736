/**
 * Recall by content as a language model with hand-set weights: the token that followed the current one before.
 *
 *     tokens  k1 v5 k2 v3 k2 .  k1
 *     output  .  .  .  .  v3 .  v5
 *
 * An induction head in two look-ups. The first copies each token's predecessor, by position; the second stores each
 * token under its predecessor and asks for what is stored under the current one. Ids travel as their bits, +1 and -1, so
 * that what is stored twice, twice as large in a sum, means the same.
 *
 * Of several successors of one key the registers of Mamba and Mamba-3 give the latest: a write replaces. The others keep all of
 * them: equal ones do no harm, of different ones they give the mean, which is none of them, or the one that came more
 * often. (Softmax attention could prefer late ones by a score that grows with the position, linear attention by a gate
 * that forgets: neither is built in here.)
 *
 * @see Olsson et al. 2022, https://arxiv.org/abs/2209.11895 (induction heads); Arora et al. 2023, Zoology,
 *   https://arxiv.org/abs/2312.04927
 */
import { checkOptions } from '@freelunch/errors';
import { ArgumentError, type Kernels } from '@freelunch/kernels';
import type { LanguageModel } from '@freelunch/models';
import { compile, type Plan } from '../program/compile.js';
import type { LookUpMixer } from '../program/look-ups.js';
import { codeBits, Expr, Program } from '../program/program.js';

export interface RecallModelOptions {
  mixer: LookUpMixer;
  /** Most tokens of a text. */
  length: number;
  /** Tokens in all. */
  vocabSize: number;
  /** The ids that are ever asked for, each once; all if absent. The state has room for these only. */
  keys?: readonly number[];
}

/** What a recalling model will be, before it is made. @throws ArgumentError if an option is out of range */
export function recallModelPlan(options: RecallModelOptions): Plan {
  checkOptions('recallModel', options, ['mixer', 'length', 'vocabSize', 'keys']);
  const { mixer, length, vocabSize, keys } = options;
  for (const [name, value] of Object.entries({ length, vocabSize })) {
    if (!Number.isSafeInteger(value) || value < 1)
      throw new ArgumentError(`recallModel: ${name} must be a whole number from 1 up, got ${value}`);
  }
  const asked = keys ?? Array.from({ length: vocabSize }, (_, id) => id);
  const wrong = asked.find((id) => !Number.isSafeInteger(id) || id < 0 || id >= vocabSize);
  if (wrong !== undefined)
    throw new ArgumentError(`recallModel: keys must be tokens from 0 to ${vocabSize - 1}, got ${wrong}`);
  if (asked.length === 0 || new Set(asked).size < asked.length)
    throw new ArgumentError('recallModel: keys must be different tokens, at least one');

  const p = new Program({ vocabSize, length });
  const idBits = codeBits(vocabSize);
  const id = p.tokenCode(idBits, (token) => token);
  // Two registers take turns where a write replaces; other mixers need an address for each position.
  const addresses = mixer === 'mamba' || mixer === 'mamba3' ? Math.min(2, length) : length;
  const addressBits = codeBits(addresses);
  const before = p.lookUp({
    name: 'the token before',
    key: p.positionCode(addressBits, (t) => t % addresses),
    query: p.positionCode(addressBits, (t) => Math.max(0, t - 1) % addresses),
    values: id,
    codes: Array.from({ length: addresses }, (_, i) => i),
  });
  // The first token has no predecessor: its key is none that is asked for.
  const follows = p.position((t) => (t > 0 ? 1 : -1));
  const output = p.lookUp({
    name: 'what followed',
    key: [...before, follows],
    query: [...id, Expr.of(1)],
    values: id,
    codes: asked.map((token) => token + 2 ** idBits),
  });
  return compile(p, { mixer, output });
}

/**
 * A model that says at each token what followed the same token before: it solves `mqar`, `inductionHeads` and
 * `associativeRecall` of @freelunch/tasks, with Mamba and Mamba-3 `mqarForgetting` too.
 *
 * @throws ArgumentError if an option is out of range
 */
export function recallModel(k: Kernels, options: RecallModelOptions): LanguageModel {
  return recallModelPlan(options).build(k);
}
