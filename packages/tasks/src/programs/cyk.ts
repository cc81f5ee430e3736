/**
 * Parsing with a grammar in Chomsky normal form (Cocke, Younger, Kasami): for each span the set of nonterminals that
 * derive it, as a bit mask; spans from short to long.
 *
 *     tokens  ( ) <sep> 2 4 1 <sep> 1 <eos>      (bit 0: the start symbol)
 *     scored  . .   .   * * *   *   *   *
 */
import type { DpOptions } from '../dp/definition.js';
import { defineDp } from '../dp/dp.js';
import type { DpTask } from '../dp/task.js';
import { FAR, type FixedArg, number, sum, type Transition } from '../dp/transition.js';
import { refuse } from '../errors.js';
import { upTo } from '../lists.js';
import { checkInteger, checkSize, type Size, sizeBounds, takeOptions } from '../options.js';
import type { Random } from '@freelunch/random';
import { numberTokens } from '../vocabulary.js';

/** Nonterminals are numbers from 0; terminals are places in the list. */
export interface Grammar {
  terminals: string[];
  start: number;
  /** `[A, terminal]` for A -> terminal. */
  unary: [number, number][];
  /** `[A, B, C]` for A -> B C. */
  binary: [number, number, number][];
}

// prettier-ignore
/** Ready grammars, by name. */
export const grammars: Record<'dyck1' | 'palindrome-even' | 'equal-count', Grammar> = {
  dyck1: { terminals: ['(', ')'], start: 0, unary: [[1, 0], [2, 1]], binary: [[0, 1, 2], [0, 1, 3], [3, 0, 2], [0, 0, 0]] },
  'palindrome-even': { terminals: ['a', 'b'], start: 0, unary: [[1, 0], [2, 1]], binary: [[0, 1, 1], [0, 2, 2], [0, 1, 3], [3, 0, 1], [0, 2, 4], [4, 0, 2]] },
  'equal-count': { terminals: ['a', 'b'], start: 0, unary: [[1, 0], [2, 1]], binary: [[0, 1, 2], [0, 2, 1], [0, 1, 3], [3, 0, 2], [0, 2, 4], [4, 0, 1], [0, 0, 0]] },
};

export interface CykOptions extends Pick<DpOptions, 'form'> {
  grammar: keyof typeof grammars | Grammar;
  /** Letters in the word. */
  length: Size;
}

export interface CykProblem {
  word: number[];
}

const MAX_NONTERMINALS = 12;
const NON_MEMBER_TRIES = 100;

/**
 * Half of the words are derived from the grammar, where it has any of that length; the others are uniform non-members.
 *
 * @throws TaskError if an option is out of range, or it is no grammar
 */
export function cyk(given?: Partial<CykOptions>): DpTask<CykProblem> {
  const where = 'cyk';
  const options = takeOptions<CykOptions>(where, given, {
    grammar: 'dyck1',
    length: { sizes: [4, 6, 8], weights: [1, 1, 1] },
    form: 'cot',
  });
  const { length, form } = options;
  checkSize(where, 'length', length, 1, 128);
  const grammar = typeof options.grammar === 'string' ? grammars[options.grammar] : options.grammar;
  const nNonterminals = checkGrammar(where, grammar, options.grammar);
  const { terminals, start, unary, binary } = grammar;
  const derivations = countDerivations(grammar, nNonterminals, sizeBounds(length)[1]);
  if (!derivations.every((row) => row.every(Number.isFinite))) {
    refuse(where, 'length', 'short enough to count derivations', length);
  }

  const combine = (left: number, right: number) => {
    let mask = 0;
    for (const [A, B, C] of binary) if ((left >> B) & 1 && (right >> C) & 1) mask |= 1 << A;
    return mask;
  };
  const masks = terminals.map((_, letter) =>
    unary.reduce((mask, [A, terminal]) => (terminal === letter ? mask | (1 << A) : mask), 0),
  );

  function isMember(word: readonly number[]): boolean {
    const rows: number[][] = [[], word.map((letter) => masks[letter])]; // by span, then by start
    for (let span = 2; span <= word.length; span++) {
      rows.push(
        upTo(word.length - span + 1).map((at) => {
          let mask = 0;
          for (let k = 1; k < span; k++) mask |= combine(rows[k][at], rows[span - k][at + k]);
          return mask;
        }),
      );
    }
    return ((rows[word.length][0] >> start) & 1) === 1;
  }

  /** A word of a nonterminal, each derivation equally likely. */
  function derive(rng: Random, A: number, size: number, word: number[]): void {
    let rest = rng.float() * derivations[size][A];
    if (size === 1) {
      const choices = unary.filter(([B]) => B === A);
      word.push(choices[Math.min(Math.floor(rest), choices.length - 1)][1]);
      return;
    }
    let last: [number, number, number] | undefined;
    for (const [head, B, C] of binary) {
      if (head !== A) continue;
      for (let k = 1; k < size; k++) {
        const ways = derivations[k][B] * derivations[size - k][C];
        if (ways === 0) continue;
        last = [B, C, k];
        rest -= ways;
        if (rest < 0) break;
      }
      if (rest < 0) break;
    }
    const [B, C, k] = last!;
    derive(rng, B, k, word);
    derive(rng, C, size - k, word);
  }

  return defineDp<CykProblem>(
    {
      name: 'cyk',
      summary: 'what derives each span, then whether the start symbol derives the word',
      options,
      symbols: [...terminals, ...numberTokens(0, 2 ** nNonterminals)],
      size: length,
      range: [0, 2 ** nNonterminals - 1],
      random(rng, n) {
        const member = rng.integer(2) === 1;
        if (member && n < derivations.length && derivations[n][start] > 0) {
          const word: number[] = [];
          derive(rng, start, n, word);
          return { word };
        }
        let word: number[] = [];
        for (let tries = 0; tries < NON_MEMBER_TRIES; tries++) {
          word = Array.from({ length: n }, () => rng.integer(terminals.length));
          if (!isMember(word)) break; // a grammar may have all words of a length
        }
        return { word };
      },
      transition: (n) => transition(grammar, n),
      input: ({ word }) => word.map((letter) => terminals[letter]),
      states({ word: { length: n } }) {
        const states: number[] = [];
        for (let span = 1; span <= n; span++)
          for (let at = 0; at + span <= n; at++) states.push((span - 1) * n + at);
        return states;
      },
      deps({ word: { length: n } }, state) {
        const [span, at] = [Math.floor(state / n) + 1, state % n];
        const deps: number[] = [];
        for (let k = 1; k < span; k++) deps.push((k - 1) * n + at, (span - k - 1) * n + at + k);
        return deps;
      },
      reads: ({ word: { length: n } }, state) => (state < n ? [state] : []),
      step(_, _state, values, inputs) {
        if (inputs.length > 0) return masks[terminals.indexOf(String(inputs[0]))];
        let mask = 0;
        for (let i = 0; i < values.length; i += 2) mask |= combine(values[i], values[i + 1]);
        return mask;
      },
      answerStates: ({ word: { length: n } }) => [(n - 1) * n],
      aggregate: (_, [mask]) => (mask >> start) & 1,
    },
    { form },
  );
}

/** @returns how many nonterminals there are */
function checkGrammar(where: string, grammar: Grammar | undefined, given: unknown): number {
  const wanted = `a grammar or one of ${Object.keys(grammars).join(', ')}`;
  if (!Array.isArray(grammar?.terminals) || !Array.isArray(grammar.unary) || !Array.isArray(grammar.binary))
    refuse(where, 'grammar', wanted, given);
  const { terminals, start, unary, binary } = grammar;
  checkInteger(where, 'grammar.start', start, 0, MAX_NONTERMINALS - 1);
  checkInteger(where, 'grammar.terminals.length', terminals.length, 1, 2 ** 10);
  let most = start;
  for (const [A, terminal] of unary) {
    checkInteger(where, 'grammar.unary', A, 0, MAX_NONTERMINALS - 1);
    checkInteger(where, 'grammar.unary', terminal, 0, terminals.length - 1);
    most = Math.max(most, A);
  }
  for (const rule of binary) {
    if (rule.length !== 3) refuse(where, 'grammar.binary', 'of rules [A, B, C]', rule);
    for (const A of rule) checkInteger(where, 'grammar.binary', A, 0, MAX_NONTERMINALS - 1);
    most = Math.max(most, ...rule);
  }
  return most + 1;
}

/** `[size][A]`: in how many ways A derives a word of this size. */
function countDerivations(
  { unary, binary }: Grammar,
  nNonterminals: number,
  longest: number,
): Float64Array[] {
  const counts = [new Float64Array(nNonterminals), new Float64Array(nNonterminals)];
  for (const [A] of unary) counts[1][A]++;
  for (let size = 2; size <= longest; size++) {
    const row = new Float64Array(nNonterminals);
    for (const [A, B, C] of binary) {
      for (let k = 1; k < size; k++) row[A] += counts[k][B] * counts[size - k][C];
    }
    counts.push(row);
  }
  return counts;
}

/** All splits of a span at once, a bit for each nonterminal. */
function transition(
  { terminals, start, unary, binary }: Grammar,
  length: number,
): Transition<CykProblem, number> {
  const nonterminals = [...new Set([start, ...unary.map(([A]) => A), ...binary.flat()])];
  const masks = upTo(2 ** (Math.max(...nonterminals) + 1));
  const splits = upTo(length - 1).map((k) => k + 1);
  return {
    args({ word: { length: n } }, state) {
      const [span, at] = [Math.floor(state / n) + 1, state % n];
      return [
        span === 1 ? { input: at } : number(-FAR),
        ...splits.flatMap((k): FixedArg<number>[] =>
          k < span
            ? [{ state: (k - 1) * n + at }, { state: (span - k - 1) * n + at + k }]
            : [number(0), number(0)],
        ),
      ];
    },
    step(on, [letter, ...spans]) {
      const derives = nonterminals.map((A) => {
        const own = terminals.flatMap((terminal, t) =>
          unary.some(([B, u]) => B === A && u === t) ? [on.equals(letter, on.token(terminal))] : [],
        );
        const rules = binary.filter(([B]) => B === A);
        const pairs = masks.flatMap((left) =>
          masks.flatMap((right) =>
            rules.some(([, B, C]) => (left >> B) & 1 && (right >> C) & 1)
              ? [{ args: [left, right], value: 1 }]
              : [],
          ),
        );
        const split = splits.map((_, k) => on.tableOfMany([spans[2 * k], spans[2 * k + 1]], pairs));
        return on.atLeast(sum(on, [...own, ...split]), 1).times(2 ** A);
      });
      return sum(on, derives);
    },
    answerArgs: ({ word: { length: n } }) => [{ state: (n - 1) * n }],
    answer: (on, [mask]) =>
      sum(
        on,
        masks.filter((value) => (value >> start) & 1).map((value) => on.equals(mask, value)),
      ),
  };
}
