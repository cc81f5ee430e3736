/** Where tensors of GGUF files belong, by the `general.architecture` that @freelunch/config reads. */
import type { ResolvedConfig } from '@freelunch/config';
import { gpt2 } from './gpt2.js';
import { llama, qwen2 } from './llama.js';
import { mamba, mamba2 } from './mamba.js';
import type { Places } from './place.js';

const all: Readonly<Record<string, (config: ResolvedConfig) => Places>> = {
  gpt2: () => gpt2,
  llama,
  mamba: () => mamba,
  mamba2: () => mamba2,
  qwen2: () => qwen2,
};

export const placesOf = (architecture: string, config: ResolvedConfig): Places => all[architecture](config);
