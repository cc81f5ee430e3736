/** Repositories of Hugging Face by name: `hf:owner/name`, `hf:owner/name@revision`, `hf:owner/name@revision/file`. */
import { ArgumentError, show } from '@freelunch/errors';

export const HUGGING_FACE = 'https://huggingface.co';

export interface Repository {
  /** `owner/name`. */
  name: string;
  /** A branch, a tag or a commit. */
  revision: string;
  /** A file or folder within; empty for the repository itself. */
  path: string;
}

const NAME = /^[\w-][\w.-]{0,95}$/;
/** Revisions with a slash in them that need not write it as %2F. */
const SLASHED = /^refs\/(?:pr|convert)\/[^/]+/;
const COMMIT = /^[0-9a-f]{40}$/;

export const isRepository = (source: unknown): source is string =>
  typeof source === 'string' && /^hf:/i.test(source);

/** Whether a revision names one state for ever. */
export const isCommit = (revision: string): boolean => COMMIT.test(revision);

/** @throws ArgumentError */
export function parseRepository(where: string, source: string): Repository {
  const refuse = () =>
    new ArgumentError(
      `${where}: source must be 'hf:owner/name', 'hf:owner/name@revision' or either with '/file', got ${show(source)}`,
    );
  const [, owner, name, at, rest] = /^hf:([^/@]*)\/([^/@]*)(@?)(.*)$/is.exec(source) ?? [];
  if (owner === undefined || !NAME.test(owner) || !NAME.test(name)) throw refuse();
  let revision = 'main';
  let path = rest;
  if (at === '@') {
    revision = SLASHED.exec(rest)?.[0] ?? rest.split('/', 1)[0];
    path = rest.slice(revision.length);
  }
  if (path !== '' && !path.startsWith('/')) throw refuse();
  path = path.replace(/^\/|\/$/g, '');
  try {
    revision = decodeURIComponent(revision);
  } catch {
    throw refuse();
  }
  const segments = [...revision.split('/'), ...(path === '' ? [] : path.split('/'))];
  if (segments.some((segment) => ['', '.', '..'].includes(segment) || segment.includes('\\'))) throw refuse();
  return { name: `${owner}/${name}`, revision, path };
}

/** As a source is written. */
export const printRepository = ({ name, revision, path }: Repository): string =>
  `hf:${name}@${revision}${path === '' ? '' : `/${path}`}`;

/** Where a server has it. */
export function repositoryUrl(
  { name, revision, path }: Repository,
  endpoint: string | URL = HUGGING_FACE,
): URL {
  const url = new URL(endpoint);
  const base = url.pathname.replace(/\/+$/, '');
  const parts = [base, name, 'resolve', encodeURIComponent(revision)];
  if (path !== '') parts.push(path.split('/').map(encodeURIComponent).join('/'));
  url.pathname = parts.join('/');
  return url;
}
