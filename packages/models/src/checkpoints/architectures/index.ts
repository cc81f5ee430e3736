/** What architectures call their parameters. A new one is one file, and its name here. */
import type { Naming } from '@freelunch/config';
import type { Layout } from '../layout.js';
import { falconH1 } from './falcon_h1.js';
import { bamba } from './bamba.js';
import { gpt2 } from './gpt2.js';
import { graniteHybrid } from './granitemoehybrid.js';
import { jamba } from './jamba.js';
import { lfm2 } from './lfm2.js';
import { llama } from './llama.js';
import { mamba } from './mamba.js';
import { mambaSsm } from './mamba_ssm.js';
import { qwen35, qwen35Text, qwen3Next } from './qwen3_next.js';
import { zamba2 } from './zamba2.js';
import { nemotronH } from './nemotron_h.js';

export const layouts: Readonly<Record<Naming, Layout>> = {
  mamba,
  mamba_ssm: mambaSsm,
  gpt2,
  llama,
  jamba,
  lfm2,
  falcon_h1: falconH1,
  qwen3_next: qwen3Next,
  qwen3_5_text: qwen35Text,
  qwen3_5: qwen35,
  zamba2,
  bamba,
  granitemoehybrid: graniteHybrid,
  nemotron_h: nemotronH,
};
