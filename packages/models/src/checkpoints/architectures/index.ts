/** What tensors of published checkpoints are called here, by the `model_type` that @freelunch/config reads. */
import type { ResolvedConfig } from '@freelunch/config';
import { UnsupportedError } from '@freelunch/errors';
import { gpt2 } from './gpt2.js';
import { llama } from './llama.js';
import { mamba } from './mamba.js';
import { checkMambaSsm } from './mamba_ssm.js';
import type { Renaming } from './renaming.js';

const renamings: Readonly<Record<string, Renaming>> = {
  freelunch: (name) => name,
  gpt2,
  llama,
  mamba,
  mamba2: mamba,
  mamba_ssm: mamba,
  mistral: llama,
};

/** @throws UnsupportedError if no weights of this architecture can be loaded yet */
export function renamingOf(architecture: string, config: ResolvedConfig, where: string): Renaming {
  if (!Object.hasOwn(renamings, architecture))
    throw new UnsupportedError(
      `${where}: model_type must be one of ${Object.keys(renamings).join(', ')} for weights to load, got '${architecture}'`,
    );
  if (architecture === 'mamba_ssm') checkMambaSsm(config, where);
  return renamings[architecture];
}
