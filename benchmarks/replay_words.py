"""What is said about the replays whatever they show."""

from benchmarks.replay_methods import ADMIRE_ASKS, FEWEST_PROXIES

ABOUT = (
    "A table has runs at several fidelities. A method sees mixtures and costs and asks for unused "
    "runs until the budget is spent, in units of a target run; the last run may overshoot. After "
    "every run the mixture it would recommend now is scored by its regret among the target runs "
    "of the table: 0 is the best one, 1 an average one; 1 before there is any recommendation, and "
    "never the best of past recommendations. AURC is the mean regret over cost from 0 to the "
    "budget; over log cost, from the price of the cheapest run to the budget. The cost to stay at "
    "the best, or at a regret of at most .1, is the one after which it never gets worse again. A "
    "table has one noisy run per cell, so the best of a table is partly luck.\n\n"
    "Replays have the seeds 100 to 109, which draw the first run, the made-up tables, and what "
    "the methods draw; fewer where the table says so. Intervals are of 95 %, by Student's t.\n\n"
    "**What was tuned.** Priors and settings of ours were chosen on made-up tables of the same "
    "three families with seeds 0 to 29, so the families are known ground to ours; these "
    "seeds are not. RegMix's tables are not quite untouched either: the history of this page has "
    "replays of them, with these seeds, before the rule that a twentieth of a target run first "
    "goes to the cheapest fidelity, and before the one that laws over scale need three fidelities, "
    "which two such replays spoke for; half, as the share of what runs show beyond the law that is "
    "their mixtures' own, was held against none and nearly all of it on the families and on six of "
    "these outcomes, with seeds 0 to 9. Of the other methods nothing was tuned: those on our "
    "process have our priors, RegMix the settings it published, "
    "successive halving the usual thirds. Tables of real instruction-tuning runs are held back "
    "and not measured here."
)

METHODS_SAID = (
    "**Methods.** *Ours* goes through `mixwright.bayesopt.knowing.know`, which learns, and "
    "`suggesting.suggest`, as the service does, one run at a time and with one seed. "
    "*Batches of 8*: eight are asked for while eight others are under way, and eight come back "
    "together; until they have, the last recommendation stands. *Scored one by one* are the same "
    "choices, with a recommendation after every run. *Per cost* is the largest of that score over "
    "cost, on our process without its check for outliers, with our recommendation. *Target runs "
    "only* has nothing but target runs. *Successive halving* starts with as many cheapest runs as "
    "its budget allows and promotes a third; since RegMix's fidelities share no mixture, the "
    "promoted one is the nearest free mixture by Hellinger distance, and the recommended one the "
    "nearest of the target. *RegMix* trains LightGBM on so many of the cheapest runs (and, while "
    f"they come, each time they have doubled from {FEWEST_PROXIES} on), then makes target runs in "
    "predicted order and recommends the best of them; where it cannot pay for that many, it is "
    f"left out. *ADMIRE's recipe* is given {ADMIRE_ASKS} asks, since each takes it seconds, and "
    "after that its last regret counts; see below.\n\n"
    "The pictures have means over seeds; shaded are 95 % intervals of the mean, for three methods "
    "only, so that they can be told apart. ADMIRE's line ends where it ended."
)

WORLDS_SAID = (
    "The regret is by the tables' own noisy values, as in the protocol; *truth* is the regret of "
    "the last recommendation by values without noise. The first favours methods that recommend the "
    "best run they saw, since a run's luck counts there. Every seed draws a world of its own."
)

SPARSE_SAID = (
    "`condition_sparsely` is given the same hyperparameters; the service uses it beyond the runs "
    "that an exact posterior takes."
)
