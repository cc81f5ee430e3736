/** Whose names the parameters of a model bear. */
import type { MixerConfig } from './mixers/index.js';
import type { MlpConfig, ResolvedMlp } from './mlp.js';
import { eitherOf, fail } from './part.js';
import type { ResolvedPosition } from './position.js';

/** What of a config decides which names fit. */
interface Parts {
  mixers: readonly {
    type: MixerConfig['type'];
    branches?: readonly { mixer: { type: MixerConfig['type'] } }[];
  }[];
  mlps: readonly ResolvedMlp[];
  norm: { type: 'rms' | 'layer' | 'none' };
  position: ResolvedPosition;
}

/** What checkpoints of an architecture have names for. `none` goes without names. */
interface Names {
  mixers: readonly MixerConfig['type'][];
  mlps: readonly MlpConfig['type'][];
  norm: 'rms' | 'layer' | 'either';
  /** Whether positions are learned. */
  learned?: boolean;
}

/** By architecture; where they lie in the files, `@freelunch/models` knows. Only `mamba` has names for everything. */
const tables = {
  gpt2: { mixers: ['softmax-attention'], mlps: ['gelu'], norm: 'layer', learned: true },
  llama: { mixers: ['softmax-attention'], mlps: ['swiglu'], norm: 'rms' },
  jamba: { mixers: ['mamba', 'softmax-attention'], mlps: ['swiglu'], norm: 'rms' },
  bamba: { mixers: ['mamba2', 'softmax-attention'], mlps: ['swiglu'], norm: 'rms' },
  granitemoehybrid: { mixers: ['mamba2', 'softmax-attention'], mlps: ['swiglu'], norm: 'rms' },
  nemotron_h: { mixers: ['mamba2', 'softmax-attention'], mlps: ['relu2'], norm: 'rms' },
  mamba_ssm: { mixers: ['mamba', 'mamba2', 'mamba3', 'softmax-attention'], mlps: ['swiglu'], norm: 'either' },
  lfm2: { mixers: ['short-conv', 'softmax-attention'], mlps: ['swiglu'], norm: 'rms' },
  falcon_h1: { mixers: ['parallel', 'mamba2', 'softmax-attention'], mlps: ['swiglu'], norm: 'rms' },
  qwen3_next: { mixers: ['gated-delta-net', 'softmax-attention'], mlps: ['swiglu'], norm: 'rms' },
  qwen3_5_text: { mixers: ['gated-delta-net', 'softmax-attention'], mlps: ['swiglu'], norm: 'rms' },
  qwen3_5: { mixers: ['gated-delta-net', 'softmax-attention'], mlps: ['swiglu'], norm: 'rms' },
  zamba2: { mixers: ['mamba2'], mlps: [], norm: 'rms' },
} as const satisfies Record<string, Names>;

/**
 * How parameters are named: as in checkpoints of this architecture. `mamba` also names what no published architecture
 * has; Mistral, Qwen2 and Qwen3 have the names of `llama`, Mamba-2 and Falcon-Mamba those of `mamba`.
 */
export type Naming = 'mamba' | keyof typeof tables;

export const namings: readonly Naming[] = ['mamba', ...(Object.keys(tables) as (keyof typeof tables)[])];

function fits(naming: Naming, { mixers, mlps, norm, position }: Parts): boolean {
  if (naming === 'mamba') return true;
  const names: Names = tables[naming];
  const has = <T extends string>(types: readonly T[], { type }: { type: T | 'none' }) =>
    type === 'none' || types.includes(type);
  return (
    mixers.every(
      (mixer) =>
        has<MixerConfig['type']>(names.mixers, mixer) &&
        (mixer.branches ?? []).every((branch) => has<MixerConfig['type']>(names.mixers, branch.mixer)),
    ) &&
    mlps.every((mlp) => has<MlpConfig['type']>(names.mlps, mlp)) &&
    (norm.type === names.norm || (names.norm === 'either' && norm.type !== 'none')) &&
    (position.type === 'learned') === (names.learned ?? false)
  );
}

/** Those of GPT-2 and Llama are taken where the model is of their form: attention and an MLP in every layer. */
function fitting(parts: Parts): Naming {
  const whole = [...parts.mixers, ...parts.mlps].every(({ type }) => type !== 'none');
  if (!whole) return 'mamba';
  return (['gpt2', 'llama'] as const).find((naming) => fits(naming, parts)) ?? 'mamba';
}

export function resolveNaming(where: string, given: unknown, parts: Parts): Naming {
  if (given === undefined) return fitting(parts);
  const naming = namings.find((one) => one === given);
  if (naming === undefined) return fail(where, 'naming', eitherOf(namings), given);
  if (!fits(naming, parts)) {
    const { mixers, mlps, norm, learned = false } = tables[naming as keyof typeof tables] as Names;
    const all = [...mixers, ...mlps].join(', ');
    fail(
      where,
      'naming',
      `'mamba': checkpoints of ${naming} have names for ${all}, ${norm} norm and ${learned ? '' : 'no '}learned positions alone`,
      naming,
    );
  }
  return naming;
}
