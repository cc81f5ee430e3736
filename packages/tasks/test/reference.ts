/** Samples of the public reference generators, and the problem and task of ours that each corresponds to. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { createTask, type Task } from '../src/index.js';

type Labels = [position: number, value: number][];

export interface ReferenceSample {
  task: string;
  form?: string;
  split?: string;
  // Each task's own fields, as the generators write them.
  // oxlint-disable-next-line typescript/no-explicit-any
  [field: string]: any;
}

const file = new URL('../test-data/samples.jsonl.gz', import.meta.url);
export const samples: ReferenceSample[] = gunzipSync(readFileSync(file))
  .toString()
  .split('\n')
  .map((line) => JSON.parse(line) as ReferenceSample);

const made = new Map<string, Task>();

/** The task made once for each set of options. */
function make(name: string, options: object): Task {
  const key = `${name} ${JSON.stringify(options)}`;
  let task = made.get(key);
  if (!task) made.set(key, (task = createTask(name, options)));
  return task;
}

const letters = (text: string) => [...text].map((letter) => letter.charCodeAt(0) - 97);
const keyValues = new Map<number, number[]>();

export interface Counterpart {
  task: Task;
  problem: unknown;
  /** Token ids of the whole text. */
  tokens: number[];
  /** Scored positions, with what is due at each. */
  labels: Labels;
}

const range = (start: number, end: number) => Array.from({ length: end - start }, (_, i) => start + i);
/** Everything in these ranges of the text is scored, unshifted. */
const own = (tokens: number[], ranges: [number, number][]): Labels =>
  ranges.flatMap(([start, end]) => range(start, end).map((i): [number, number] => [i, tokens[i]]));

/** The `under` option: sizes up to the largest, their shares as the sizes. */
function mixedSizes(largest: number) {
  const sizes = range(1, largest + 1);
  return { sizes, weights: sizes };
}

/** Ours of theirs; undefined for samples that are several texts in one, and for maps. */
export function counterpart(sample: ReferenceSample): Counterpart | undefined {
  const { params } = sample;
  switch (sample.task) {
    case 'arithmetic': {
      const expression = sample.problem
        .split(' ')
        .map((token: string) => (/\d/.test(token) ? Number(token) : token));
      return {
        task: make('arithmetic', {
          length: params.under ? mixedSizes(params.length) : params.length,
          p: params.p,
        }),
        problem: { expression, order: sample.collapse.map((parts: [number, number][]) => parts[0][0]) },
        tokens: sample.ids,
        labels: own(sample.ids, [[sample.cot_loss[0] + 1, sample.cot_loss[1] + 1]]),
      };
    }
    case 'equation':
      return {
        task: make('equation', { length: params.length, p: params.p }),
        problem: { matrix: sample.problem },
        tokens: sample.ids,
        labels: own(sample.ids, [[sample.cot_loss[0] + 1, sample.cot_loss[1] + 1]]),
      };
    case 'lis':
      return {
        task: make('lis', { length: params.length, numberRange: params.number_range }),
        problem: { numbers: sample.problem },
        tokens: sample.ids,
        labels: own(sample.ids, [[sample.cot_loss[0] + 1, sample.cot_loss[1] + 1]]),
      };
    case 'edit-distance':
      return {
        task: make('edit-distance', {
          length: params.length,
          using: params.using,
          costs: 'reference',
          numbers: 60,
        }),
        problem: { a: letters(sample.problem.a), b: letters(sample.problem.b) },
        tokens: sample.ids,
        labels: own(sample.ids, [[sample.cot_loss[0] + 1, sample.cot_loss[1] + 1]]),
      };
    case 'copy':
    case 'copy-duplicate-ngram':
    case 'ngram-prefix':
    case 'ngram-suffix':
      return sample.form === 'packed' ? undefined : stringCounterpart(sample);
    case 'mqar':
    case 'mqar-forgetting':
    case 'mqar-compositional': {
      const options = {
        vocabSize: params.vocab_size,
        seqLen: params.input_seq_len,
        pairs: params.num_kv_pairs,
        power: params.power_a ?? 0.01,
        randomFiller: params.random_non_queries,
        lookAlikes: true,
        ...(sample.task === 'mqar-forgetting' ? { updates: params.num_updates } : {}),
      };
      return {
        task: make(sample.task, options),
        problem: { tokens: sample.inputs, queries: sample.labels.map(([position]: [number]) => position) },
        tokens: sample.inputs,
        labels: sample.labels,
      };
    }
    case 'parity':
    case 'parity-cumulative':
    case 'majority':
    case 'majority-cumulative':
    case 'majority-vocab': {
      const cumulative = sample.task.endsWith('cumulative');
      const kind = sample.task === 'majority-vocab' ? 'vocabulary-majority' : sample.task.split('-')[0];
      return {
        task: make('circuit', {
          kind,
          cumulative,
          seqLen: sample.inputs.length,
          vocabSize: params.vocab_size,
        }),
        problem: { symbols: cumulative ? sample.inputs : sample.inputs.slice(0, -1) },
        tokens: sample.inputs,
        labels: sample.labels,
      };
    }
    case 'in-context-recall':
    case 'noisy-in-context-recall': {
      const tokens = [...sample.inputs, sample.last_target ?? sample.targets.at(-1)[1]];
      const options = {
        vocabSize: params.vocab_size,
        seqLen: params.seq_len,
        multiQuery: params.multi_query,
        noiseVocabSize: params.noise_vocab_size,
        noise: params.frac_noise,
        score: sample.split,
      };
      return {
        task: make('noisy-recall', options),
        problem: { tokens },
        tokens,
        labels: shifted(sample, tokens),
      };
    }
    case 'fuzzy-in-context-recall': {
      const tokens = [...sample.inputs, sample.last_target ?? sample.targets.at(-1)[1]];
      const options = {
        vocabSize: params.vocab_size,
        seqLen: params.seq_len,
        keyMotif: params.k_motif_size,
        valueMotif: params.v_motif_size,
        multiQuery: params.multi_query,
        score: sample.split,
      };
      return {
        task: make('fuzzy-recall', options),
        problem: { tokens },
        tokens,
        labels: shifted(sample, tokens),
      };
    }
    case 'memorization': {
      const vocabSize: number = params.vocab_size;
      if (sample.split === 'map') {
        keyValues.set(
          vocabSize,
          (sample.kv_map as Labels).toSorted((a, b) => a[0] - b[0]).map(([, value]) => value),
        );
        return undefined;
      }
      return {
        task: make('memorization', { vocabSize, seqLen: params.seq_len, map: keyValues.get(vocabSize) }),
        problem: { keys: sample.inputs.filter((_: number, i: number) => i % 2 === 0) },
        tokens: sample.inputs,
        labels: sample.targets,
      };
    }
    case 'compression':
      return {
        task: make('compression', { vocabSize: params.vocab_size, seqLen: params.seq_len }),
        problem: { tokens: sample.inputs },
        tokens: sample.inputs,
        labels: sample.inputs.map((token: number, i: number) => [i, token]),
      };
    case 'selective-copying':
    case 'plain-copying': {
      const selective = sample.task === 'selective-copying';
      const options = {
        vocabSize: params.vocab_size,
        seqLen: params.seq_len,
        count: params.num_tokens_to_copy,
        selective,
      };
      return {
        task: make('mad-selective-copy', options),
        problem: { tokens: sample.inputs },
        tokens: sample.inputs,
        labels: sample.targets,
      };
    }
    case 'delayed-copy': {
      const { noise, memorize, alphabet, reverse, variable } = params;
      const first = sample.inputs.length - memorize;
      return {
        task: make(variable ? 'selective-copy' : 'delayed-copy', { noise, memorize, alphabet, reverse }),
        problem: { tokens: sample.inputs },
        tokens: sample.inputs,
        labels: sample.targets.map((token: number, i: number) => [first + i, token]),
      };
    }
    case 'induction-heads': {
      const n: number = params.induction_len;
      const options = {
        vocabSize: params.vocab_size,
        seqLen: params.input_seq_len,
        inductionLength: n,
        triggers: params.num_triggers,
      };
      return {
        task: make('induction-heads', options),
        problem: { tokens: sample.ids.slice(0, -n - 1) },
        tokens: sample.ids,
        labels: own(sample.ids, [[sample.ids.length - n, sample.ids.length]]),
      };
    }
    case 'associative-recall': {
      const n: number = params.num_keys;
      const { ids } = sample;
      const options = {
        vocabSize: params.vocab_size,
        seqLen: params.input_seq_len,
        keyLength: n,
        allowUnseen: params.allow_dot,
      };
      return {
        task: make('associative-recall', options),
        problem: { pairs: ids.slice(0, -n - 2), key: ids.slice(-n - 1, -1) },
        tokens: ids,
        labels: own(ids, [[ids.length - 1, ids.length]]),
      };
    }
    case 'phonebook':
      return phoneBookCounterpart(sample);
    default:
      return undefined;
  }
}

function shifted(sample: ReferenceSample, tokens: number[]): Labels {
  if (sample.targets === 'shift') return own(tokens, [[1, tokens.length]]);
  return (sample.targets as Labels).map(([position, value]) => [position + 1, value]);
}

export function stringTask(sample: ReferenceSample): Task {
  const { params } = sample;
  const length = params.length ?? [params.min_length, params.max_length];
  if (sample.task === 'copy') {
    return make('copy', { vocabSize: params.vocab_size, length, answerLength: params.length_answer });
  }
  if (sample.task === 'copy-duplicate-ngram') {
    return make('duplicated-ngrams', { vocabSize: params.vocab_size, length, n: params.n_gram });
  }
  return make('ngram-lookup', {
    vocabSize: params.vocab_size,
    length,
    n: params.n_gram,
    answerLength: params.length_answer,
    key: sample.task === 'ngram-prefix' ? 'prefix' : 'suffix',
    uniqueKey: false,
  });
}

/** The problem that a text of a string task shows. */
export function stringProblem(sample: ReferenceSample, text: string): { string: number[]; key?: number[] } {
  const parts = text.slice(1).split('|');
  const n: number = sample.params.n_gram;
  if (sample.task === 'ngram-prefix') return { string: letters(parts[1]), key: letters(parts[0]) };
  if (sample.task === 'ngram-suffix')
    return { string: letters(parts[0]), key: letters(parts[1].slice(0, n)) };
  return { string: letters(parts[0]) };
}

function stringCounterpart(sample: ReferenceSample): Counterpart {
  const task = stringTask(sample);
  const text: string = sample.text ?? task.vocabulary.decode(sample.ids);
  const tokens: number[] = sample.ids ?? task.vocabulary.encode(text);
  const scored: [number, number][] = sample.mask ?? [
    [tokens.length - sample.answer.length - 1, tokens.length],
  ];
  return { task, problem: stringProblem(sample, text), tokens, labels: own(tokens, scored) };
}

function phoneBookCounterpart(sample: ReferenceSample): Counterpart {
  const task = make('phone-book', { entries: sample.params.entries });
  const [book, examples, asked] = (sample.prompt as string).split('\n\n').map((part) => part.split('\n'));
  const entries = book.map((line) => ({ name: line.split(': ')[0], number: line.split(': ')[1] }));
  const line = (text: string) => book.indexOf(text);
  const query = entries.findIndex(({ name, number }) => `${name}:` === asked[0] && number === sample.answer);
  const tokens = task.vocabulary.encode(`${sample.prompt} ${sample.answer}\n`);
  return {
    task,
    problem: { entries, examples: examples.map(line), query },
    tokens,
    labels: own(tokens, [[sample.prompt.length, tokens.length]]),
  };
}

/** The standard DP problems: our task and problem for their fields. */
export function dpCounterpart(sample: ReferenceSample): { task: Task; problem: unknown } | undefined {
  const { params, problem } = sample;
  switch (sample.task) {
    case 'lcs':
      return { task: make('lcs', { length: [5, 12], alphabet: params.alphabet }), problem };
    case 'knapsack01':
      return {
        task: make('knapsack', { length: params.n, capacity: params.capacity, maxWeight: 30, maxValue: 30 }),
        problem,
      };
    case 'matrix-chain':
      return { task: make('matrix-chain', { length: params.n, maxDim: 20 }), problem };
    case 'cyk':
      return {
        task: make('cyk', { length: params.n, grammar: problem.grammar }),
        problem: { word: problem.word },
      };
    case 'recurrence': {
      const { p, m, n } = params;
      const options = { p, m, length: n, coefficients: problem.coeffs, driven: true };
      return { task: make('recurrence', options), problem: { start: problem.init, drive: problem.inputs } };
    }
    case 'prefix-sum':
      return { task: make('prefix-sum', { p: params.p, length: params.n }), problem: { numbers: problem.x } };
    case 'prefix-max':
      return {
        task: make('prefix-max', { p: params.range, length: params.n }),
        problem: { numbers: problem.x },
      };
    case 'layered-path':
      return {
        task: make('layered-path', { length: params.layers, width: params.width, maxWeight: 9 }),
        problem: { start: problem.start, weights: problem.weights },
      };
    case 'word-problem':
      return {
        task: make('word-problem', { group: params.group, length: params.n }),
        problem: { numbers: problem.word },
      };
    default:
      return undefined;
  }
}
