/** Where the cache keeps bytes by key: a folder on the disk in Node, Deno and Bun, the Cache API in browsers. */

export interface StoredKey {
  key: string;
  bytes: number;
}

/** Keys are `group/name`. What is put is there as a whole or not at all, whoever else puts at the same time. */
export interface Store {
  /** As a user names it. */
  readonly where: string;
  /** @returns undefined if there is none */
  get(key: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  put(key: string, parts: readonly Uint8Array<ArrayBuffer>[]): Promise<void>;
  delete(key: string): Promise<void>;
  /** All keys there are, or those of one group. */
  keys(group?: string): Promise<StoredKey[]>;
}
