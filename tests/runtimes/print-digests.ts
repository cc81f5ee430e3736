/** Prints the digests of the case table as JSON: run it in another runtime and compare. */
import { report } from './report.ts';

console.log(JSON.stringify(await report()));
