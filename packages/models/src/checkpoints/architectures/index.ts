/** What architectures call their parameters. A new one is one file, and its name here. */
import type { Naming } from '@freelunch/config';
import type { Layout } from '../layout.js';
import { gpt2 } from './gpt2.js';
import { jamba } from './jamba.js';
import { llama } from './llama.js';
import { mamba } from './mamba.js';
import { mambaSsm } from './mamba_ssm.js';

export const layouts: Readonly<Record<Naming, Layout>> = {
  mamba,
  mamba_ssm: mambaSsm,
  gpt2,
  llama,
  jamba,
};
