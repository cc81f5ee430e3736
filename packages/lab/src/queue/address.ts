/** Where a Redis is. Its password is known to the connection only: nothing that is printed or thrown has it. */
import { InputError } from '../errors.js';

/** Holds the whole URL, password included: unlike arguments, the environment of a process is read by its owner only. */
export const VARIABLE = 'FREELUNCH_REDIS';
/** What `--redis` says to take the URL from there. */
const FROM_ENVIRONMENT = 'env';
const LONGEST_URL = 2000;

export interface Address {
  host: string;
  port: number;
  /** Number of the database. */
  db: number;
  tls: boolean;
  username?: string;
  password?: string;
  /** Begins every key. */
  prefix: string;
  /** For people: without user and password. */
  shown: string;
}

const forms =
  'redis://HOST:PORT/DATABASE or rediss://HOST:PORT/DATABASE (TLS), with ?prefix=NAME to keep apart those who share a Redis';

/**
 * @param given  what `--redis` says; the variable if absent
 * @throws InputError that does not show what was given, which may hold a password
 */
export function addressOf(
  given: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): Address {
  if (given !== undefined && given !== FROM_ENVIRONMENT) return parsed('--redis', given, true);
  const url = env[VARIABLE];
  if (url === undefined || url === '')
    throw new InputError(`needs --redis URL, or the URL in the variable ${VARIABLE}: ${forms}`);
  return parsed(VARIABLE, url, false);
}

function parsed(name: string, text: string, isArgument: boolean): Address {
  const refuse = (what: string) => new InputError(`${name} ${what}`);
  const url = text.length <= LONGEST_URL && URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['redis:', 'rediss:'].includes(url.protocol) || url.hostname === '')
    throw refuse(
      `must be ${forms}${isArgument ? `; '${FROM_ENVIRONMENT}' takes it from the variable ${VARIABLE}` : ''}`,
    );
  if (isArgument && url.password !== '')
    throw refuse(
      `must not hold a password, which everybody on this machine could read in the list of processes; put the whole URL into the variable ${VARIABLE} and write --redis ${FROM_ENVIRONMENT}`,
    );
  const database = /^\/?(\d{0,4})$/.exec(url.pathname)?.[1];
  if (database === undefined) throw refuse(`must name a database by its number, from 0 to 9999: ${forms}`);
  const strange = [...url.searchParams.keys()].some((key) => key !== 'prefix');
  const prefix = url.searchParams.get('prefix') ?? 'freelunch';
  if (strange || url.hash !== '' || !/^[\w-]{1,64}$/.test(prefix))
    throw refuse(
      'may have one parameter only, prefix=NAME, of up to 64 letters, digits, hyphens and underscores',
    );
  const [username, password] = [url.username, url.password].map((part) => {
    try {
      return part === '' ? undefined : decodeURIComponent(part);
    } catch {
      throw refuse('has a user or a password with a % that begins no escape; write %25 for it');
    }
  });
  const tls = url.protocol === 'rediss:';
  const port = url.port === '' ? 6379 : Number(url.port);
  const db = Number(database);
  const query = prefix === 'freelunch' ? '' : `?prefix=${prefix}`;
  return {
    host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
    port,
    db,
    tls,
    username,
    password,
    prefix,
    shown: `${url.protocol}//${url.hostname}:${port}/${db}${query}`,
  };
}
