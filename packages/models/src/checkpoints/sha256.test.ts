import { createHash } from 'node:crypto';
import { random } from '@freelunch/random';
import { expect, it } from 'vitest';
import { portableSha256, sha256 } from './sha256.js';

const bytesOf = (length: number) => {
  const rng = random(length);
  return Uint8Array.from({ length }, () => rng.integer(256));
};

it('gives the digests of FIPS 180-4', () => {
  const digest = (text: string) => {
    const hash = portableSha256();
    hash.update(new TextEncoder().encode(text));
    return hash.hex();
  };
  expect(digest('abc')).toBe('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
  expect(digest('')).toBe('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855');
  expect(digest('a'.repeat(1_000_000))).toBe(
    'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0',
  );
});

it('is the same in pieces of any length, and as the one of the runtime', () => {
  for (const length of [1, 55, 56, 57, 63, 64, 65, 119, 120, 128, 1000]) {
    const bytes = bytesOf(length);
    const wanted = createHash('sha256').update(bytes).digest('hex');
    for (const piece of [1, 7, 64, 100]) {
      for (const hash of [portableSha256(), sha256()]) {
        for (let i = 0; i < length; i += piece) hash.update(bytes.subarray(i, i + piece));
        expect(hash.hex()).toBe(wanted);
      }
    }
  }
});
