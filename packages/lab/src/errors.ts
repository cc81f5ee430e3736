import { FreelunchError } from '@freelunch/errors';

/** Something the user can fix: a file, an option. The command says it in one line and exits with code 2. */
export class InputError extends FreelunchError {
  override name = 'InputError';
}
