/** What every function of this package throws: the function, the argument, what was wanted and what came. */
export class TaskError extends Error {
  override name = 'TaskError';
}

/** @throws TaskError: wanted this, got that */
export function refuse(where: string, argument: string, wanted: string, got: unknown): never {
  throw new TaskError(`${where}: ${argument} must be ${wanted}, got ${show(got)}`);
}

/** A value as it reads in a message, cut if long. */
export function show(value: unknown): string {
  let text: string;
  if (typeof value === 'string') text = `'${value}'`;
  else if (typeof value === 'object' && value !== null) text = JSON.stringify(value);
  else text = String(value);
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}
