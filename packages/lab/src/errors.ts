/** Something the user can mend: a file, an option. The command says it in one line and exits with code 2. */
export class InputError extends Error {
  override name = 'InputError';
}
