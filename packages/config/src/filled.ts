/** A config with its defaults filled in; of `Optional` options, absence means something. */
export type Filled<Config, Optional extends keyof Config = never> = Required<Omit<Config, Optional>> &
  Pick<Config, Optional>;
