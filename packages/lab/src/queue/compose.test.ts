/** docs/compose.yaml, as far as it can be checked where no containers run. */
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { commandNames } from '../../dist/commands/main.js';
import { freelunch } from '../testing/cli.js';

interface Service {
  image?: string;
  build?: { context?: string; dockerfile_inline?: string };
  command?: string[];
  environment?: Record<string, string>;
  volumes?: string[];
  depends_on?: Record<string, { condition: string }>;
  [field: string]: unknown;
}

const text = readFileSync(new URL('../../../../docs/compose.yaml', import.meta.url), 'utf8');
const file = parse(text, { merge: true, uniqueKeys: true, strict: true }) as {
  name: string;
  services: Record<string, Service>;
  volumes: Record<string, null>;
};
/** Of the Compose specification, those that the file uses. */
const FIELDS = new Set(
  'build command depends_on environment healthcheck image profiles restart stop_grace_period volumes'.split(
    ' ',
  ),
);

describe('docs/compose.yaml', () => {
  it('has a Redis that keeps what it is given, workers, and a sweep', () => {
    expect(Object.keys(file)).toEqual(['name', 'x-freelunch', 'services', 'volumes']);
    expect(Object.keys(file.services)).toEqual(['redis', 'worker', 'sweep']);
    const line = file.services.redis.command!.at(-1)!;
    for (const setting of ['requirepass %s', 'appendonly yes', 'maxmemory-policy noeviction'])
      expect(line).toContain(setting);
  });

  it.each(Object.entries(file.services))('has a service %s of known fields and volumes', (_, service) => {
    expect(Object.keys(service).filter((field) => !FIELDS.has(field))).toEqual([]);
    for (const volume of service.volumes ?? [])
      expect(Object.keys(file.volumes)).toContain(volume.split(':')[0]);
    for (const other of Object.keys(service.depends_on ?? {})) expect(file.services).toHaveProperty(other);
    for (const value of Object.values(service.environment ?? {}))
      expect(value).toContain('${FREELUNCH_PASSWORD:?');
  });

  it.each(['worker', 'sweep'])('starts freelunch %s with options that it has', async (name) => {
    const [command, ...args] = file.services[name].command!;
    expect(commandNames).toContain(command);
    const { stdout } = await freelunch([command, '--help']);
    for (const option of args.filter((arg) => arg.startsWith('--'))) expect(stdout).toContain(`  ${option} `);
    expect(file.services[name].build?.dockerfile_inline).toMatch(
      /^FROM node:\d+-slim\n[^]*ENTRYPOINT \["node", /,
    );
  });
});
