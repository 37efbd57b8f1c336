"""`python -m penstock`: the same as the command `penstock`."""

from deploy.entry import main

if __name__ == "__main__":
    main()
