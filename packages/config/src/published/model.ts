import type { HuggingFaceConfig } from '../config-json.js';

export interface PublishedModel {
  /** On the hub of Hugging Face. */
  readonly repository: string;
  readonly config: HuggingFaceConfig;
}

/** By short names. */
export type Models = Readonly<Record<string, PublishedModel>>;
