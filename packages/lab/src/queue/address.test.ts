import { describe, expect, it } from 'vitest';
import { InputError } from '../errors.js';
import { addressOf } from './address.js';

describe('the address of a Redis', () => {
  it('comes from --redis, or from the variable with its password', () => {
    expect(addressOf('redis://queue.example', {})).toEqual({
      host: 'queue.example',
      port: 6379,
      db: 0,
      tls: false,
      username: undefined,
      password: undefined,
      prefix: 'freelunch',
      shown: 'redis://queue.example:6379/0',
    });
    const env = { FREELUNCH_REDIS: 'rediss://ann:p%40ss@[::1]:7000/3?prefix=ours' };
    const wanted = {
      host: '::1',
      port: 7000,
      db: 3,
      tls: true,
      username: 'ann',
      password: 'p@ss',
      prefix: 'ours',
      shown: 'rediss://[::1]:7000/3?prefix=ours',
    };
    expect(addressOf('env', env)).toEqual(wanted);
    expect(addressOf(undefined, env)).toEqual(wanted);
  });

  it.each([
    ['', 'must be redis://HOST'],
    ['localhost:6379', 'must be redis://HOST'],
    ['http://:secret@host', 'must be redis://HOST'],
    ['redis://:secret@host', 'must not hold a password'],
    ['redis://:secret@host:99999', 'must be redis://HOST'],
    ['redis://host/name', 'must name a database by its number'],
    ['redis://host?prefix=a:b', 'may have one parameter only'],
    ['redis://host?password=secret', 'may have one parameter only'],
    ['redis://a%zz@host', 'a % that begins no escape'],
    [`redis://${'secret'.repeat(1000)}`, 'must be redis://HOST'],
  ])('is refused if it is %j, and is not shown', (url, message) => {
    for (const act of [() => addressOf(url, {}), () => addressOf(undefined, { FREELUNCH_REDIS: url })]) {
      try {
        act();
        expect(url).toContain('secret@host'); // in the variable a password may be
      } catch (error) {
        expect(error).toBeInstanceOf(InputError);
        const text = (error as Error).message;
        expect(text).not.toContain('secret');
        if (text.startsWith('--redis')) expect(text).toContain(message);
      }
    }
  });
});
