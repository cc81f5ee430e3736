import { FreelunchError, nearest, show } from '@freelunch/errors';

/** Something the user can fix: a file, an option. The command says it in one line and exits with code 2. */
export class InputError extends FreelunchError {
  override name = 'InputError';
}

/** Work that others were to do has ended without them: pieces failed on every worker, or the queue was emptied. */
export class QueueError extends FreelunchError {
  override name = 'QueueError';
}

/** For a name that is none of those there are. @param kind  what it should name */
export function unknownName(kind: string, name: string, all: readonly string[]): InputError {
  const meant = nearest(name, all);
  const list = `${kind}s are ${all.join(', ')}`;
  return new InputError(
    `unknown ${kind} ${show(name)}; ${meant === undefined ? `the ${list}` : `did you mean '${meant}'? The ${list}`}`,
  );
}
