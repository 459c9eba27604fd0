"""What sources write, to typed canonical values. Repairs only where nobody could disagree, each one reported."""
