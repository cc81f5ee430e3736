import { expect, it } from 'vitest';
import { fromHuggingFace } from './config-json.js';
import { publishedModels } from './published-models.js';
import { resolveConfig } from './resolve.js';

it.each(Object.entries(publishedModels))(
  '%s is read by the reader of config.json',
  (name, { repository, config }) => {
    expect(repository).toMatch(/^[\w.-]+\/[\w.-]+$/);
    const model = resolveConfig(fromHuggingFace(config), name);
    expect(model.mixers).toHaveLength(model.nLayers);
  },
);
