/**
 * A linear recurrence over Z_p: x_t = c_1 x_{t-1} + ... + c_m x_{t-m} + u_t. Its locality is the parameter m.
 *
 *     tokens  1 1 <sep> 2 3 5 1 6 <sep> 6 <eos>      (m = 2, c = 1 1, p = 7, no drive)
 *     scored  . .   .   * * * * *   *   *   *
 */
import type { DpOptions } from '../dp/definition.js';
import { defineDp } from '../dp/dp.js';
import type { DpTask } from '../dp/task.js';
import { sum } from '../dp/transition.js';
import { filled, upTo } from '../lists.js';
import { refuse } from '../errors.js';
import { checkBoolean, checkInteger, checkSize, type Size, takeOptions } from '../options.js';
import { numberTokens } from '../vocabulary.js';

export interface RecurrenceOptions extends DpOptions {
  p: number;
  /** How many earlier values a value needs. */
  m: number;
  /** Number of values, the m given ones among them. */
  length: Size;
  /** c_1 .. c_m; null: all one. */
  coefficients: number[] | null;
  /** Whether there is an input u_t a step. */
  driven: boolean;
}

export interface RecurrenceProblem {
  /** x_0 .. x_{m-1} */
  start: number[];
  /** u_m .. u_{n-1}; zeros if not driven. */
  drive: number[];
}

/** Uniform starts and inputs. @throws TaskError if an option is out of range */
export function recurrence(given?: Partial<RecurrenceOptions>): DpTask<RecurrenceProblem> {
  const where = 'recurrence';
  const options = takeOptions<RecurrenceOptions>(where, given, {
    p: 7,
    m: 2,
    length: [10, 20],
    coefficients: null,
    driven: true,
    form: 'cot',
    inputs: 'prompt',
  });
  const { p, m, length, driven, form, inputs } = options;
  checkInteger(where, 'p', p, 2, 2 ** 16);
  checkInteger(where, 'm', m, 1, 2 ** 12);
  checkSize(where, 'length', length, m + 1, 2 ** 20);
  checkBoolean(where, 'driven', driven);
  const coefficients = options.coefficients ?? filled(m, 1);
  if (!Array.isArray(coefficients) || coefficients.length !== m)
    refuse(where, 'coefficients', `${m} numbers`, coefficients);
  for (const c of coefficients) checkInteger(where, 'coefficients', c, 0, p - 1);
  return defineDp<RecurrenceProblem>(
    {
      name: 'recurrence',
      summary: `each value from the ${m} before it, modulo ${p}`,
      options,
      symbols: numberTokens(0, p),
      size: length,
      range: [0, p - 1],
      random(rng, n) {
        checkInteger(where, 'length', n, m + 1);
        return {
          start: Array.from({ length: m }, () => rng.integer(p)),
          drive: Array.from({ length: n - m }, () => (driven ? rng.integer(p) : 0)),
        };
      },
      transition: () => ({
        args: (_, t) => [
          ...upTo(m).map((k) => (t - 1 - k < m ? { input: t - 1 - k } : { state: t - 1 - k })),
          ...(driven ? [{ input: t }] : []),
        ],
        step(on, args) {
          const total = sum(
            on,
            args.map((arg, k) => arg.times(k < m ? coefficients[k] : 1)),
          );
          const most = (p - 1) * (coefficients.reduce((all, c) => all + c, 0) + Number(driven));
          return on.modulo(total, p, most);
        },
      }),
      input: ({ start, drive }) => (driven ? [...start, ...drive] : start),
      states: ({ drive }) => drive.map((_, i) => m + i),
      deps: (_, t) => Array.from({ length: Math.min(m, t - m) }, (_value, k) => t - 1 - k),
      reads(_, t) {
        const reads: number[] = [];
        for (let k = Math.max(1, t - m + 1); k <= m; k++) reads.push(t - k);
        if (driven) reads.push(t);
        return reads;
      },
      step(_, _t, values, read) {
        const before = [...values, ...(read as number[])]; // x_{t-1} .. x_{t-m}, then u_t
        let total = driven ? before[m] : 0;
        for (let k = 0; k < m; k++) total = (total + coefficients[k] * before[k]) % p;
        return total;
      },
      answerStates: ({ drive }) => [m + drive.length - 1],
      aggregate: (_, [last]) => last,
    },
    { form, inputs },
  );
}
