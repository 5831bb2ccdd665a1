"""The reference of the benchmarks: a minimal Hydra app."""

import hydra
from omegaconf import DictConfig


@hydra.main(version_base="1.3", config_path="conf", config_name="hello")
def main(cfg: DictConfig) -> None:
    print(cfg.greeting)


if __name__ == "__main__":
    main()
