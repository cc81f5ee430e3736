import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { childrenIn } from '../testing/children.js';
import { freePort, type OwnRedis, ownRedis, redisServer, WITHOUT_REDIS } from '../testing/redis.js';

const server = redisServer();
const folder = mkdtempSync(join(tmpdir(), 'freelunch-secrets-'));
const { start, end } = childrenIn(folder);
const PASSWORD = 'open-sesame';
const grid = {
  experiment: 'copy-capacity',
  set: { lengths: [16], ratios: [1], tokensRead: 16, vocabSize: 4, dValue: 2 },
  grid: { seed: [1, 2] },
};

describe.skipIf(server === undefined)(
  `a Redis with a password and TLS (without one: ${WITHOUT_REDIS})`,
  () => {
    let redis: OwnRedis;
    let url = '';
    const certificate = join(folder, 'certificate.pem');

    beforeAll(async () => {
      const key = join(folder, 'key.pem');
      const names = 'subjectAltName=DNS:localhost,IP:127.0.0.1';
      const subject = ['-subj', '/CN=localhost', '-addext', names, '-days', '2', '-nodes'];
      const out = ['-keyout', key, '-out', certificate];
      execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', ...subject, ...out], {
        stdio: 'ignore',
      });
      const port = await freePort();
      const tls = ['--tls-cert-file', certificate, '--tls-key-file', key, '--tls-ca-cert-file', certificate];
      const ports = ['--port', '0', '--tls-port', String(port)];
      const open = ['--tls-auth-clients', 'no', '--requirepass', PASSWORD];
      redis = await ownRedis(server!, [...ports, ...tls, ...open]);
      url = `rediss://:${PASSWORD}@localhost:${port}`;
    });
    afterAll(async () => {
      await end();
      await redis.remove();
      rmSync(folder, { recursive: true, force: true });
    });

    const trusting = () => ({ FREELUNCH_REDIS: url, NODE_EXTRA_CA_CERTS: certificate });

    it('runs a sweep, and shows its password neither in what is written nor in the list of processes', async () => {
      writeFileSync(join(folder, 'grid.json'), JSON.stringify(grid));
      const worker = start(['worker', '--workers', '1'], trusting());
      const sweep = start(['sweep', 'grid.json', '--redis', 'env', '--out', 'swept'], trusting());
      while (!worker.said().includes('takes 1 piece at a time')) await wait(20);
      if (process.platform === 'linux')
        for (const { child } of [worker, sweep])
          expect(readFileSync(`/proc/${child.pid}/cmdline`, 'utf8')).not.toContain(PASSWORD);
      expect(await sweep.ended).toBe(0);
      expect(readFileSync(join(folder, 'swept/rows.jsonl'), 'utf8').trim().split('\n')).toHaveLength(4);
      const status = start(['queue', 'status', '--json'], trusting());
      expect(await status.ended).toBe(0);
      expect(JSON.parse(status.said()).runs).toMatchObject([{ experiment: 'copy-capacity', done: 4 }]);
      worker.child.kill('SIGINT');
      expect(await worker.ended).toBe(130);
      for (const { said } of [worker, sweep, status]) expect(said()).not.toContain(PASSWORD);
    });

    it('is refused in one line without its certificate, with another password, without one, and without TLS', async () => {
      const other = (text: string) => ({ ...trusting(), FREELUNCH_REDIS: text });
      const attempts = [
        [{ FREELUNCH_REDIS: url }, 'self-signed certificate'],
        [other(url.replace(PASSWORD, 'open-barley')), 'WRONGPASS invalid username-password pair'],
        [other(url.replace(`:${PASSWORD}@`, '')), 'NOAUTH Authentication required'],
        [other(url.replace('rediss', 'redis')), 'ECONNRESET'],
      ] as const;
      const ends = attempts.map(([env]) => start(['queue', 'status'], env));
      for (const [i, { ended, said }] of ends.entries()) {
        expect(await ended, said()).toBe(2);
        expect(said()).toMatch(
          /^freelunch queue: cannot use Redis at rediss?:\/\/localhost:\d+\/0: [^\n]+\n$/,
        );
        expect(said()).toContain(attempts[i][1]);
        expect(said()).not.toMatch(/open-/);
      }
    });

    it('is refused where the command line holds its password, which is not shown again', async () => {
      for (const args of [
        ['worker'],
        ['queue', 'status'],
        ['sweep', 'grid.json'],
        ['run', 'copy-capacity'],
      ]) {
        const { ended, said } = start([...args, '--redis', url]);
        expect(await ended).toBe(2);
        expect(said()).toMatch(/^freelunch \w+: --redis must not hold a password, which everybody[^\n]+\n$/);
        expect(said()).not.toContain(PASSWORD);
      }
    });
  },
);
