/**
 * COPY as a language model with hand-set weights, for the texts of the `copy` task of @freelunch/tasks:
 *
 *     tokens  $ v m f s g | v m f s g .
 *     scored  . . . . . . . * * * * * *
 *
 * One look-up finds where `|` stands, p. Token t then wants its successor from place t - p + 1, whose bits come from
 * log T small blocks; the second look-up copies it. Where that place is p, the text is complete and `.` follows: `|` is
 * stored as `.`.
 */
import { checkOptions } from '@freelunch/errors';
import { ArgumentError, type Kernels } from '@freelunch/kernels';
import type { LanguageModel } from '@freelunch/models';
import { compile, NUMBERED, type Plan } from '../program/compile.js';
import type { LookUpMixer } from '../program/look-ups.js';
import { type KeyedCopyOptions, keyedCopyPlan } from './keyed-copy.js';
import { bitsOf, lookUpNumber } from '../program/integers.js';
import { codeBits, Expr, Program } from '../program/program.js';

export interface CopyModelOptions {
  mixer: LookUpMixer;
  /** Longest string that it copies; shorter ones too. */
  length: number;
  /** Different letters. */
  vocabSize: number;
  /** Softmax attention sees only so many tokens, its own among them: what is further back is not copied. */
  window?: number;
  /**
   * Linear attention, Mamba and Mamba-3 only: width of keys that come with the positions, then for strings of exactly `length`
   * letters. Below `length` it does not suffice: see keyed-copy-model.ts and {@link predictAccuracy}.
   */
  dState?: number;
  /** With `dState`: width of a letter's vector; twice the bits of a letter, at least 8, if absent. */
  dValue?: number;
  /** With `dState`, Mamba and Mamba-3 only: what is kept shrinks by e^-rate a token; 0 if absent. */
  rate?: number;
  /** With `dState`: of keys and vectors; 0 if absent. */
  seed?: number;
}

/** What a copying model will be, before it is made. @throws ArgumentError if an option is out of range */
export function copyModelPlan(options: CopyModelOptions): Plan {
  checkOptions('copyModel', options, [
    'mixer',
    'length',
    'vocabSize',
    'window',
    'dState',
    'dValue',
    'rate',
    'seed',
  ]);
  const { mixer, length, vocabSize, window, dState } = options;
  for (const [name, value] of Object.entries({ length, vocabSize })) {
    if (!Number.isSafeInteger(value) || value < 1)
      throw new ArgumentError(`copyModel: ${name} must be a whole number from 1 up, got ${value}`);
  }
  if (dState !== undefined) {
    if (window !== undefined)
      throw new ArgumentError(`copyModel: window must be absent where dState is given, got ${window}`);
    return keyedCopyPlan({ ...options, dState } as KeyedCopyOptions);
  }
  for (const name of ['dValue', 'rate', 'seed'] as const) {
    if (options[name] !== undefined)
      throw new ArgumentError(`copyModel: ${name} must be absent where dState is, got ${options[name]}`);
  }
  const bar = vocabSize + 1; // letters, then $ = vocabSize, |, and . after it
  const positions = 2 * length + 2; // the last token, `.`, needs no successor
  const p = new Program({ vocabSize: vocabSize + 4, length: positions });
  const at = p.position((t) => t);
  const barAt = lookUpNumber(p, mixer, {
    name: 'the place of |',
    key: p.tokenCode(1, (token) => Number(token === bar)),
    query: [Expr.of(1)],
    value: { position: (t) => t },
    codes: [1],
  });
  const bits = codeBits(positions);
  const letter = {
    name: 'the letter to copy',
    key: p.positionCode(bits, (t) => t),
    query: bitsOf(p, at.minus(barAt).plus(1), bits),
    codes: Array.from({ length: length + 1 }, (_, i) => i + 1),
  };
  const next = (token: number) => (token === bar ? bar + 1 : token);
  const output =
    p.vocabSize > NUMBERED
      ? p.lookUp({ ...letter, values: p.tokenCode(codeBits(p.vocabSize), next) })
      : lookUpNumber(p, mixer, { ...letter, value: { token: next } });
  return compile(p, { mixer, output, window });
}

/**
 * A model that copies strings of up to `length` letters without a wrong one: `generate($ s |)` gives `s .`.
 *
 * @throws ArgumentError if an option is out of range
 * @see copy.ts, C2 and C4; Jelassi et al. 2024, https://arxiv.org/abs/2402.01032
 */
export function copyModel(k: Kernels, options: CopyModelOptions): LanguageModel {
  return copyModelPlan(options).build(k);
}
