import { playwright } from '@vitest/browser-playwright';
import { defineConfig } from 'vitest/config';
import { chromiumFlags, findChromium } from './browser/chromium.ts';

/** Run in Node and in Chromium alike; the others are of Node alone. */
const everywhere = [
  'reference.test.ts',
  'gradient.test.ts',
  'memory.test.ts',
  'golden/*.test.ts',
  'golden-models/*.test.ts',
  'golden-family/family.test.ts',
];

export default defineConfig({
  // Pages may then share memory with workers.
  server: {
    headers: {
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cross-Origin-Embedder-Policy': 'require-corp',
    },
  },
  test: {
    testTimeout: 120_000,
    projects: [
      {
        extends: true,
        test: { name: 'node', include: ['**/*.test.ts'], exclude: ['browser/**', 'node_modules/**'] },
      },
      {
        extends: true,
        test: {
          name: 'chromium',
          include: [...everywhere, 'browser/*.test.ts'],
          globalSetup: [
            'browser/node-digests.ts',
            'browser/node-training.ts',
            'browser/packed-checkpoint.ts',
            'browser/cached-checkpoint.ts',
          ],
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            provider: playwright({ launchOptions: { executablePath: findChromium(), args: chromiumFlags } }),
            instances: [{ browser: 'chromium' }],
          },
        },
      },
    ],
  },
});
