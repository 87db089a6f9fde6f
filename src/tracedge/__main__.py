from tracedge.cli import main

main()
