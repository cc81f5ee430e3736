/** What is left of an experiment at its end: findings.json and report.html in its folder. */
import { cpus } from 'node:os';
import { type Claim, claims, type Findings, type Row } from '../experiments/experiment.js';
import { writeOwnFiles } from '../files/own.js';
import { experimentPage, type Finished, type Missing } from '../report/findings-page.js';
import { runCommandOf } from './config.js';
import { type AnyExperiment, experiments } from './registry.js';

/**
 * Writes what was found into the folder of an experiment: for the report, and as a page.
 *
 * @param command  what runs it again; `freelunch run` with its configuration if absent
 */
export async function keepFindings(
  experiment: AnyExperiment,
  config: Row,
  findings: Findings,
  folder: string,
  signal: AbortSignal,
  command = runCommandOf(experiment, config),
): Promise<Finished> {
  const finished: Finished = {
    name: experiment.name,
    summary: experiment.summary,
    command,
    machine: machine(),
    findings,
  };
  const files = { 'findings.json': `${JSON.stringify(finished)}\n`, 'report.html': experimentPage(finished) };
  await writeOwnFiles(folder, 'run', files, signal);
  return finished;
}

/** What the times of a run depend on. */
export const machine = () =>
  `${cpus()[0]?.model.trim() ?? process.arch}, Node ${process.versions.node}, kernels: simd`;

/** Claims without a verdict, and what would give one. */
export function missingClaims(finished: readonly Finished[]): Missing[] {
  const judged = new Set(finished.flatMap(({ findings }) => findings.verdicts.map(({ claim }) => claim)));
  return (Object.keys(claims) as Claim[])
    .filter((claim) => !judged.has(claim))
    .map((claim) => {
      const experiment = Object.values(experiments).find((one) => one.claims.includes(claim));
      return { claim, command: experiment && `freelunch run ${experiment.name} --preset full` };
    });
}
