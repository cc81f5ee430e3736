import { fail, Part, typed } from '../part.js';
import type { Kind, Surroundings } from './kind.js';

/** One of several mixers of a layer. */
export interface Branch<Mixer> {
  mixer: Mixer;
  /** What its input is multiplied by; 1 if absent. */
  inMultiplier?: number;
  /** What its output is multiplied by; 1 if absent. */
  outMultiplier?: number;
}

/** Several mixers side by side on the same normed input, whose outputs are added up (Falcon-H1, TII 2025, arXiv:2507.22448). */
export interface ParallelConfig<Mixer> {
  type: 'parallel';
  /** Two or more, of which no two keep the same kind of state. */
  branches: readonly Branch<Mixer>[];
}

export interface ResolvedParallel<Mixer> {
  type: 'parallel';
  branches: readonly Required<Branch<Mixer>>[];
}

/** Mixers of a layer share one state, in which what each keeps has a name: two of a kind would take the same. */
const kindsOfState: Readonly<Record<string, string>> = {
  mamba: 'a scan',
  mamba2: 'a scan',
  'short-conv': 'a scan',
  'linear-attention': 'a matrix per head',
  'delta-rule': 'a matrix per head',
  'gated-delta-net': 'a matrix per head',
};

/**
 * @param types    of the mixers that a branch may have
 * @param resolve  checks one of them and fills in what is absent
 */
export const parallel = <Mixer extends { type: string }, Resolved>(
  types: readonly Mixer['type'][],
  resolve: (where: string, name: string, mixer: Mixer, around: Surroundings) => Resolved,
): Kind<ParallelConfig<Mixer>, ResolvedParallel<Resolved>> => ({
  options: ['type', 'branches'],
  resolve(p, around, where, name) {
    const given = p.get('branches');
    if (!Array.isArray(given) || given.length < 2) p.fail('branches', 'a list of two mixers or more');
    const seen = new Map<string, string>();
    const branches = (given as unknown[]).map((branch, i) => {
      const at = `${name}.branches[${i}]`;
      if (typeof branch !== 'object' || branch === null) fail(where, at, 'an object with a mixer', branch);
      const b = new Part(where, at, branch, ['mixer', 'inMultiplier', 'outMultiplier']);
      const mixer = typed(where, `${at}.mixer`, b.get('mixer'), types) as Mixer;
      const state = kindsOfState[mixer.type] ?? mixer.type;
      const before = seen.get(state);
      if (before !== undefined)
        fail(where, `${at}.mixer.type`, `of another kind than ${before}, beside which it stands`, mixer.type);
      seen.set(state, mixer.type);
      return {
        mixer: resolve(where, `${at}.mixer`, mixer, around),
        inMultiplier: b.finite('inMultiplier', 1),
        outMultiplier: b.finite('outMultiplier', 1),
      };
    });
    return { type: 'parallel', branches };
  },
});
