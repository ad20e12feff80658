"""Where the time of a training step goes (DLRM paper, section 5.2, Figure 6).

A workload (`workloads`: a network and random rows of its shape) is trained for some steps under torch's profiler
(`measuring`), every operator's time is given to the part of the network that asked for it (`attribution`), and the
parts are drawn as stacked bars (`plot`).
"""
