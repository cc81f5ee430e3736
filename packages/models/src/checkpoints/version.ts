/** What tells one content of a file on a server from another. */
export interface Version {
  /** ETag, or the digest that Hugging Face names before it redirects. */
  readonly etag?: string;
  /** Last-Modified. */
  readonly modified?: string;
  /** In bytes as they are sent; undefined where the server does not say it. */
  readonly length?: number;
  /** Whether it is sent compressed, so that length and ranges are not those of the file: `no` if absent. */
  readonly packed?: 'no' | 'yes' | 'unknown';
}

/** A weak tag says that files mean the same; that lengths are equal too is asked where it matters. */
const strong = (etag: string): string => etag.replace(/^W\//, '');

/** Whether two answers are certain to be of one content. Without an ETag or a date nothing is. */
export function isSame(a: Version, b: Version): boolean {
  if (a.etag !== undefined || b.etag !== undefined)
    return a.etag !== undefined && b.etag !== undefined && strong(a.etag) === strong(b.etag);
  return a.modified !== undefined && a.modified === b.modified && a.length === b.length;
}

/** Whether a server says anything that a content can be known by. */
export const isNamed = ({ etag, modified, length }: Version): boolean =>
  etag !== undefined || (modified !== undefined && length !== undefined);

export function printVersion({ etag, modified, length }: Version): string {
  return etag ?? `${modified ?? 'no ETag or date'}, ${length ?? 'unknown'} bytes`;
}
