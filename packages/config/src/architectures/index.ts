/** All architectures that config.json can describe. A new one is one file, and one line here. */
import type { Architecture } from './architecture.js';
import { falconMamba } from './falcon_mamba.js';
import { gpt2 } from './gpt2.js';
import { jamba } from './jamba.js';
import { llama } from './llama.js';
import { mamba } from './mamba.js';
import { mamba2 } from './mamba2.js';
import { mambaSsm } from './mamba_ssm.js';
import { mistral } from './mistral.js';
import { mixtral } from './mixtral.js';
import { qwen2 } from './qwen2.js';

export const published: readonly Architecture[] = [
  mamba,
  mamba2,
  falconMamba,
  mambaSsm,
  gpt2,
  llama,
  mistral,
  mixtral,
  qwen2,
  jamba,
];
