from facerec.cli.app import main

main()
