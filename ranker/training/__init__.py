"""Training a network with several processes: tables model-parallel, MLPs data-parallel (DLRM paper, section 3).

In the order in which data flows: `settings` says what to train; `launch` starts the processes, or joins those that
torchrun started; `sources` opens a converted or generated folder; `feed` cuts global batches into each process's part
and reads ahead; `plan` decides where every table lives; `model` builds the network, places the tables and draws their
first weights; `optimizers` update tables and MLPs, at the rate that `schedule` says; `loop` conducts the steps;
`evaluation` measures on held-out rows; `checkpoints` keep all of it; `run_folder` is where it lies. `figure5` trains
the paper's four curves.
"""
