import { FreelunchError, show } from '@freelunch/errors';

/** What every function of this package throws: the function, the argument, what was expected and what came. */
export class TaskError extends FreelunchError {
  override name = 'TaskError';
}

/** @throws TaskError: wanted this, got that */
export function refuse(where: string, argument: string, wanted: string, got: unknown): never {
  throw new TaskError(`${where}: ${argument} must be ${wanted}, got ${show(got)}`);
}

export { show };
