/** What lies where a file should: nothing, a web page that says so, or a pointer of git-lfs. */
import { FormatError, show } from '@freelunch/errors';

/** Why a file is not there. */
export class Missing {
  readonly reason: string;
  /** Whether the server says that there is none, rather than that it may not be seen. */
  readonly gone: boolean;

  constructor(reason = 'no such file', gone = false) {
    this.reason = reason;
    this.gone = gone;
  }
}

const POINTER = 'version https://git-lfs.github.com/spec/';
/** Bytes at the beginning of a file that tell. A pointer is 200 bytes at most. */
export const TELLING_BYTES = 256;

/**
 * Whether a file begins like HTML or XML, as the answer of a server for what it does not have. No file of weights does:
 * the length that it begins with would be beyond its limit.
 */
export function isWebPage(start: Uint8Array): boolean {
  const text = new TextDecoder('latin1').decode(start).replace(/^\u00ef\u00bb\u00bf/, '');
  return /^\s*<[!?a-z]/i.test(text) && !text.slice(0, 8).includes('\0');
}

/** @throws FormatError if a file begins like a pointer of git-lfs, or a web page */
export function refusePlaceholder(start: Uint8Array, name: string): void {
  const text = new TextDecoder('latin1').decode(start.subarray(0, TELLING_BYTES));
  if (text.startsWith(POINTER)) {
    const id = /oid (\S+)/.exec(text)?.[1] ?? 'without an id';
    throw new FormatError(
      `${name}: must be the file itself, got a git-lfs pointer to it (${show(id).slice(1, -1)}); 'git lfs pull' fetches it`,
    );
  }
  if (isWebPage(start)) throw new FormatError(`${name}: must be the file itself, got a web page`);
}
